"""Simulates whole studies, and counts how often their intervals are right.

  python results/coverage/simulate.py --studies=1000 --processes=2

A study here has the lesions of HAM10000 by class and number of images, dealt
out over folds by `tfds_ham10000.folds`; classifiers are fitted on overlapping
training folds, chosen on validation folds and compared on test folds by
`skinjax.metrics.statistics`. Only images and networks are simple: Gaussian
features, linear discriminants. README.md tells the model and the result.
"""

import argparse
import dataclasses
import functools
import math
import multiprocessing
import os
import pathlib
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import tfds_ham10000  # noqa: E402
from skinjax.metrics import classification, statistics  # noqa: E402
from skinjax.runtime import files  # noqa: E402

# HAM10000's lesions of 1, 2, … images.
LESIONS = {
  "akiec": (151, 57, 18, 2),
  "bcc": (175, 118, 33, 1),
  "bkl": (440, 220, 55, 8, 2, 2),
  "df": (39, 26, 8),
  "mel": (230, 278, 100, 4, 1, 1),
  "nv": (4415, 699, 268, 18, 2, 1),
  "vasc": (64, 25, 8, 1),
}
DIMENSIONS = 8
# Of the variance of an image around its class, the lesion's part.
LESION_PART = 0.7
SEPARATION = 0.8  # of class means, in standard deviations
# The classifiers that are chosen from, each with and without synthetic images:
# shrinkage of the covariance, and the power of the classes' frequencies that
# is their prior.
ARMS = ((0.02, 0.0), (0.3, 0.0), (0.1, 0.1))
FILL_TO = 1000  # images a class, synthetic ones included
# Generators put the mean of a class so far towards that of all classes.
SCENARIOS = {"no change": 0.42, "help": 0.2, "hurt": 0.6}
SEEDS, SEEDS_MOST, UNTIL = 3, 10, 0.015
TRAIN_FOLDS = 3
LUCK = 1.75
ELSEWHERE = 0.75


@dataclasses.dataclass(frozen=True)
class Size:
  """How much is computed; the shipped values are those of the results."""

  divide: int = 1  # lesions of a class by this
  num_folds: int = 5
  resamples: int = 500
  true_seeds: int = 30  # twice
  true_images: int = 2000  # of each class, fold and half of the seeds


@dataclasses.dataclass(frozen=True)
class Images:
  """Images as a classifier sees them."""

  x: np.ndarray  # [N, DIMENSIONS] float32
  label: np.ndarray  # [N]
  lesion: np.ndarray  # [N], from 0

  def __getitem__(self, pick: np.ndarray) -> "Images":
    return Images(self.x[pick], self.label[pick], self.lesion[pick])


class Population:
  """Classes of lesions: Gaussian around their means, each with its scales."""

  def __init__(self):
    rng = np.random.default_rng(0)
    shape = (len(LESIONS), DIMENSIONS)
    self.mean = rng.normal(0, SEPARATION, shape).astype(np.float32)
    self.scale = np.exp(rng.normal(0, 0.25, shape)).astype(np.float32)
    self.error = rng.normal(0, 1, shape).astype(np.float32)

  def draw(self, rng: np.random.Generator, images: np.ndarray, label) -> Images:
    """Draws lesions [L] of so many images and of these labels."""
    normal = lambda n: rng.standard_normal((n, DIMENSIONS), np.float32)
    lesion = np.repeat(np.arange(len(images)), images)
    own = normal(len(images))[lesion] * np.float32(np.sqrt(LESION_PART))
    noise = normal(len(lesion)) * np.float32(np.sqrt(1 - LESION_PART))
    label = label[lesion]
    x = self.mean[label] + self.scale[label] * (own + noise)
    return Images(x, label, lesion)


def moments(images: Images, weights: np.ndarray) -> np.ndarray:
  """Sums 1, x and x x' by class, with weights [S, N]; to [S, K, 1 + D + D²]."""
  x = images.x
  square = (x[:, :, None] * x[:, None]).reshape(len(x), -1)
  terms = np.concatenate([np.ones((len(x), 1), np.float32), x, square], 1)
  of = [images.label == k for k in range(len(LESIONS))]
  return np.stack([weights[:, k] @ terms[k] for k in of], 1)


def fit(sums: np.ndarray, shrinkage: float, power: float) -> np.ndarray:
  """Fits linear discriminants to moments [S, K, …]: [S, K, D + 1], offset last.

  Classes weigh alike in the covariance.
  """
  mean, covariance = gaussians(sums)
  pooled = shrink(covariance.mean(1), shrinkage)
  slope = np.linalg.solve(pooled, mean.swapaxes(1, 2)).swapaxes(1, 2)
  frequency = sums[..., 0] / sums[..., 0].sum(-1, keepdims=True)
  offset = power * np.log(frequency) - (slope * mean).sum(-1) / 2
  return np.concatenate([slope, offset[..., None]], -1).astype(np.float32)


def gaussians(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Computes means and covariances of moments [..., 1 + D + D²]."""
  rest = sums[..., 1:] / sums[..., :1]
  mean, square = rest[..., :DIMENSIONS], rest[..., DIMENSIONS:]
  square = square.reshape(*mean.shape, DIMENSIONS)
  return mean, square - mean[..., None] * mean[..., None, :]


def shrink(covariance: np.ndarray, part: float) -> np.ndarray:
  """Shrinks covariances to multiples of the identity."""
  size = np.trace(covariance, axis1=-2, axis2=-1) / DIMENSIONS
  return (1 - part) * covariance + part * size[..., None, None] * np.eye(
    DIMENSIONS
  )


def correct(classifiers: np.ndarray, images: Images) -> np.ndarray:
  """Tells whether classifiers [S, K, D + 1] are right: [S, N]."""
  x = np.concatenate([images.x, np.ones((len(images.x), 1), np.float32)], 1)
  scores = classifiers @ x.T
  own = np.take_along_axis(scores, images.label[None, None], 1)[:, 0]
  return own >= scores.max(1)


def recalls(right: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Averages [S, N] by class: [S, K]."""
  return np.stack(
    [right[:, label == k].mean(1) for k in range(len(LESIONS))], 1
  )


def synthesize(
  rng: np.random.Generator,
  training: Images,
  population: Population,
  error: float,
) -> np.ndarray:
  """Fits a generator, and draws what fills up classes: moments [1, K, …].

  A Gaussian for each class, of all training images; its covariance is half the
  classes' average.
  """
  sums = moments(training, np.ones((1, len(training.label)), np.float32))
  mean, covariance = (x[0] for x in gaussians(sums))
  elsewhere = population.mean + error * population.error
  mean = (1 - ELSEWHERE) * mean + ELSEWHERE * elsewhere
  covariance = (covariance + covariance.mean(0)) / 2
  number = np.maximum(FILL_TO - sums[0, :, 0], 0).astype(int)
  label = np.repeat(np.arange(len(LESIONS)), number)
  root = np.linalg.cholesky(covariance)[label]
  normal = rng.standard_normal((len(label), DIMENSIONS, 1), np.float32)
  x = (mean[label] + (root @ normal)[..., 0]).astype(np.float32)
  made = Images(x, label, label)
  return moments(made, np.ones((1, len(label)), np.float32))


class Fold:
  """Training images, synthetic ones, and the classifiers of any seeds."""

  def __init__(self, rng, training: Images, population: Population):
    self.rng, self.training = rng, training
    self.synthetic = {None: 0} | {
      name: synthesize(rng, training, population, error)
      for name, error in SCENARIOS.items()
    }

  def luck(self, seeds: int) -> np.ndarray:
    """Draws the luck of new seeds: a weight for each training image.

    Lesions weigh as powers of what is exponentially distributed (distributed
    so, they would be a Bayesian bootstrap, Rubin 1981), with mean 1.
    """
    lesions = self.training.lesion.max() + 1
    luck = self.rng.standard_exponential((seeds, lesions), np.float32)
    luck = luck**LUCK / math.gamma(1 + LUCK)
    return luck[:, self.training.lesion]

  def train(self, kind: str | None, arm: int, luck: np.ndarray) -> np.ndarray:
    """Trains with the synthetic images of a scenario, or with none."""
    sums = moments(self.training, luck)
    return fit(sums + self.synthetic[kind], *ARMS[arm])


def tallies(
  right: np.ndarray, label: np.ndarray, weights: np.ndarray
) -> list[statistics.Tally]:
  """Tallies [S, N] as far as balanced accuracy needs it.

  All that is wrong counts as the next class; what is not needed is 0.
  """
  weights = np.concatenate([np.ones((1, len(label)), np.float32), weights])
  classes = len(LESIONS)
  counts = np.zeros((len(right), len(weights), classes, classes))
  for k in range(classes):
    own = weights[:, label == k]
    hits = (own @ right[:, label == k].T.astype(np.float32)).T
    counts[:, :, k, k] = hits
    counts[:, :, k, (k + 1) % classes] = own.sum(1) - hits
  none = np.zeros(len(weights))
  within = {"mean_auc": none, "ece": none, "auc": none[:, None]}
  return [statistics.Tally(one, none, within) for one in counts]


def simulate(number: int, seed: int, size: Size) -> list[dict]:
  """Simulates one study: a row for each scenario and rule of its seeds."""
  rng = np.random.default_rng([seed, number])
  population = Population()
  images, label = _lesions(size.divide)
  everything = population.draw(rng, images, label)
  fold_of = tfds_ham10000.folds(
    [f"{number}-{lesion}" for lesion in everything.lesion],
    everything.label.tolist(),
    size.num_folds,
    seed,
  )
  # The classical arms, the weights and the lesions are those of all scenarios.
  kinds = (None, *SCENARIOS)
  predicted = {kind: [] for kind in kinds}
  true = {kind: [] for kind in kinds}
  for f in range(size.num_folds):
    after = (fold_of - f) % size.num_folds
    test, validation = everything[after == 0], everything[after == 1]
    fold = Fold(rng, everything[after > 1], population)
    weights = statistics.bootstrap_weights(
      test.lesion, test.label, size.resamples, [seed, number, f]
    )
    # The arms' true values are of the same seeds and images, and so is less of
    # their difference luck. Twice, to tell how much is.
    many = np.repeat(np.arange(len(LESIONS)), size.true_images)
    one_each = np.ones_like(many)
    halves = [
      (
        fold.luck(size.true_seeds),
        population.draw(rng, np.ones_like(many), many),
      )
      for _ in range(2)
    ]
    for kind in kinds:
      arms = [
        fold.train(kind, arm, fold.luck(SEEDS_MOST)) for arm in range(len(ARMS))
      ]
      best = np.argmax(
        [
          recalls(correct(arm[:SEEDS], validation), validation.label).mean()
          for arm in arms
        ]
      )
      right = correct(arms[best], test)
      predicted[kind].append(tallies(right, test.label, weights))
      true[kind].append(
        [
          recalls(correct(fold.train(kind, best, luck), new), new.label).mean(0)
          for luck, new in halves
        ]
      )
  # [F, K], the folds' shares of each class.
  share = np.stack(
    [
      np.bincount(everything.label[fold_of == f], minlength=len(LESIONS))
      for f in range(size.num_folds)
    ]
  )
  rows = []
  for name in SCENARIOS:
    gain = np.array(true[name]) - np.array(true[None])  # [F, 2, K]
    pair = predicted[name], predicted[None]
    for rule, told in _rules(pair, number).items():
      folds = told["folds"]
      part = share[:folds] / share[:folds].sum(0)
      halves = (gain[:folds] * part[:, None]).sum(0).mean(1)
      row = {"scenario": name, "rule": rule, "truth": halves.mean()}
      rows.append(row | told | {"truth_error": (halves[0] - halves[1]) / 2})
  return rows


def _lesions(divide: int) -> tuple[np.ndarray, np.ndarray]:
  """Lists lesions: numbers of images, and labels."""
  images, label = [], []
  for k, counts in enumerate(LESIONS.values()):
    sizes = np.repeat(np.arange(len(counts)) + 1, counts)[::divide]
    images.append(sizes)
    label.append(np.full(len(sizes), k))
  return np.concatenate(images), np.concatenate(label)


def _rules(pair, number: int) -> dict[str, dict]:
  """Gives the study's intervals, with seeds and folds by several rules."""

  def compare(seeds, folds=None):
    draw = lambda arm: statistics.draw([fold[:seeds] for fold in arm[:folds]])
    synthetic, classical = (draw(arm)["balanced_accuracy"] for arm in pair)
    return synthetic - classical

  def row(draws, first=None):
    found = statistics.interval(draws, seed=number, first=first)
    folds, seeds = draws.by_seed.shape[:2]
    gains = [
      np.subtract(*(_scored(arm[f][:seeds]) for arm in pair))
      for f in range(folds)
    ]
    between = statistics.between_folds(gains, 1 / TRAIN_FOLDS)
    numbers = {
      "low": found.low,
      "high": found.high,
      "between_low": between[0],
      "between_high": between[1],
      "seed_sd": found.seed_sd,
      "score": np.mean([_scored(fold[:seeds]) for fold in pair[1]]),
    }
    numbers = {name: float(value) for name, value in numbers.items()}
    return numbers | {"folds": folds, "seeds": seeds}

  fixed = compare(SEEDS)
  needed = statistics.seeds_needed(fixed, UNTIL, SEEDS_MOST, seed=number)
  more = fixed if needed in (None, SEEDS) else compare(needed)
  return {
    f"{SEEDS} seeds": row(fixed),
    f"until {UNTIL}": row(more, first=SEEDS),
    "2 seeds": row(compare(2)),
    "1 fold": row(compare(SEEDS, 1)),
  }


def _scored(fold: list[statistics.Tally]) -> float:
  """Computes the balanced accuracy of one fold's seeds."""
  counts = np.mean([tally.confusion[0] for tally in fold], 0)
  return float(classification.of_counts(counts)["balanced_accuracy"])


def summarize(rows: list[dict]) -> list[dict]:
  """Counts what is right: a row for each scenario and rule."""
  cells = {}
  for row in rows:
    cells.setdefault((row["scenario"], row["rule"]), []).append(row)
  table = []
  for (scenario, rule), cell in cells.items():
    column = {
      name: np.array([row[name] for row in cell])
      for name in cell[0]
      if name not in ("scenario", "rule")
    }
    low, high, truth = column["low"], column["high"], column["truth"]
    says_helps, says_hurts = low > 0, high < 0
    false = says_helps & (truth <= 0) | says_hurts & (truth >= 0)
    covers = lambda start, end, value: (start <= value) & (value <= end)
    row = {"scenario": scenario, "rule": rule, "studies": len(cell)}
    mean = truth.mean()
    between = column["between_low"], column["between_high"]
    for name, event in (
      ("coverage", covers(low, high, truth)),
      ("false_verdicts", false),
      ("helps", says_helps),
      ("hurts", says_hurts),
      ("coverage_of_mean", covers(low, high, mean)),
      ("coverage_of_mean_between_folds", covers(*between, mean)),
    ):
      share = event.mean()
      row[name] = float(share)
      row[f"{name}_error"] = float(np.sqrt(share * (1 - share) / len(cell)))
    row["half_width"] = float((high - low).mean() / 2)
    row["half_width_between_folds"] = float(
      (between[1] - between[0]).mean() / 2
    )
    row["seeds"] = float(column["seeds"].mean())
    row["seed_sd"] = float(column["seed_sd"].mean())
    row["truth"], row["truth_sd"] = float(mean), float(truth.std())
    row["truth_error"] = float(np.sqrt((column["truth_error"] ** 2).mean()))
    row["balanced_accuracy"] = float(column["score"].mean())
    table.append(row)
  return table


# What README.md shows of a row: heading, and how.
_SHOWN = (
  ("scenario", lambda row: row["scenario"]),
  ("seeds", lambda row: row["rule"]),
  ("true difference", lambda row: f"{row['truth']:+.4f}"),
  ("coverage", lambda row: _percent(row, "coverage")),
  ("false verdicts", lambda row: _percent(row, "false_verdicts")),
  ("says helps", lambda row: _percent(row, "helps")),
  ("says hurts", lambda row: _percent(row, "hurts")),
  ("half-width", lambda row: f"{row['half_width']:.4f}"),
  ("mean seeds", lambda row: f"{row['seeds']:.1f}"),
  ("*of the mean*", lambda row: _percent(row, "coverage_of_mean")),
  (
    "*between folds*",
    lambda row: _percent(row, "coverage_of_mean_between_folds"),
  ),
)


def _percent(row: dict, name: str) -> str:
  share, error = row[name], row[f"{name}_error"]
  if np.isnan(share):
    return "–"
  return f"{100 * share:.1f} ± {100 * error:.1f} %"


def show(table: list[dict], readme: str) -> str:
  """Puts the table between README.md's marks."""
  start, end = "<!-- written by simulate.py -->", "<!-- /simulate.py -->"
  lines = [[heading for heading, _ in _SHOWN], ["---"] * len(_SHOWN)]
  lines += [[told(row) for _, told in _SHOWN] for row in table]
  text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
  before, _, rest = readme.partition(start)
  return f"{before}{start}\n{text}\n{end}{rest.partition(end)[2]}"


def main() -> None:
  """Simulates, and writes coverage.json, coverage.csv and README.md's table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--studies", type=int, default=1000)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--processes", type=int, default=2)
  parser.add_argument(
    "--out", type=pathlib.Path, default=ROOT / "results/coverage"
  )
  args = parser.parse_args()
  # Each process has a core; read when numpy is imported, thus by those to come.
  os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
  start, rows = time.monotonic(), []
  work = functools.partial(simulate, seed=args.seed, size=Size())
  with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
    for done, study in enumerate(pool.imap(work, range(args.studies)), 1):
      rows += study
      if done % 10 == 0 or done == args.studies:
        minutes = (time.monotonic() - start) / 60
        left = minutes * (args.studies / done - 1)
        print(
          f"{done} studies in {minutes:.1f} min, {left:.1f} left", flush=True
        )
  table = summarize(rows)
  args.out.mkdir(parents=True, exist_ok=True)
  model = {
    "studies": args.studies,
    "seed": args.seed,
    "minutes": round((time.monotonic() - start) / 60, 1),
    "size": dataclasses.asdict(Size()),
    "rows": table,
  }
  files.write_json(args.out / "coverage.json", model)
  cells = [
    [x if isinstance(x, int | str) else f"{x:.5f}" for x in row.values()]
    for row in table
  ]
  files.write_text(args.out / "coverage.csv", files.table([table[0], *cells]))
  readme = args.out / "README.md"
  if readme.exists():
    readme.write_text(show(table, readme.read_text()))


if __name__ == "__main__":
  main()
