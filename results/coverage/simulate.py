r"""Simulates whole studies, and counts how often their intervals are correct.

  python results/coverage/simulate.py --studies=1000 --seed=1 --processes=2 \
    --out=results/coverage

A simulated study has HAM10000's numbers of lesions by class and number of
images, distributed over folds by `tfds_ham10000.folds`. Classifiers are fitted
to overlapping training folds, chosen on validation folds and compared on test
folds by `skinjax.metrics.statistics`. Only images and networks are simplified:
Gaussian features and linear discriminants. README.md describes the model and
the result.
"""

import argparse
import dataclasses
import functools
import itertools
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

# HAM10000's numbers of lesions with 1, 2, … images.
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
SEPARATION = 0.8  # of class means, in standard deviations of an image
LESION_PART = 0.7  # of that variance; the rest is the image's own
# Candidate classifiers, each with and without synthetic images: shrinkage of
# the covariance, and exponent of the classes' frequencies in the prior.
ARMS = ((0.02, 0.0), (0.3, 0.0), (0.1, 0.1))
LUCK = 1.75  # see Fold.seeds
FILL_TO = 1000  # training images of a class, synthetic ones included
# The share of a generator's class means that does not come from the training
# lesions; and that part's error by scenario, in standard deviations of an image
# in each dimension.
ELSEWHERE = 0.75
SCENARIOS = {"no change": 0.42, "help": 0.2, "hurt": 0.6}
NUM_FOLDS = 5
# A fold's arm is chosen by the first seeds: one arm for all seeds by all of the
# first, or for each of the first seeds by the others.
CHOICES = ("by all", "by the others")
SEEDS, SEEDS_MOST, UNTIL = 3, 10, 0.015
STRICT = 0.9875  # the level of one of several studies
TEST_TO_TRAIN = 1 / 3  # folds


@dataclasses.dataclass(frozen=True)
class Size:
  """The size of the computation; the defaults are those of the results."""

  lesions: float = 1.0  # share of HAM10000's lesions
  resamples: int = 1000
  # The true values are computed twice in each fold, from this number of seeds
  # and of new images per class.
  true_seeds: int = 20
  true_images: int = 1500


@dataclasses.dataclass(frozen=True)
class Images:
  """Images as a classifier sees them."""

  x: np.ndarray  # [N, DIMENSIONS] float32
  label: np.ndarray  # [N], sorted
  lesion: np.ndarray  # [N], from 0

  @functools.cached_property
  def terms(self) -> np.ndarray:
    """Compute 1, x and x x': [N, 1 + D + D²]."""
    square = (self.x[:, :, None] * self.x[:, None]).reshape(len(self.x), -1)
    one = np.ones((len(self.x), 1), np.float32)
    return np.concatenate([one, self.x, square], 1)

  def __getitem__(self, pick: np.ndarray) -> "Images":
    return Images(self.x[pick], self.label[pick], self.lesion[pick])


class Population:
  """Gaussian classes of lesions, each with its own mean and scales.

  It also has the directions of the generators' errors.
  """

  def __init__(self):
    rng = np.random.default_rng(0)
    shape = (len(LESIONS), DIMENSIONS)
    self.mean = rng.normal(0, SEPARATION, shape).astype(np.float32)
    self.scale = np.exp(rng.normal(0, 0.25, shape)).astype(np.float32)
    self.error = rng.normal(0, 1, shape).astype(np.float32)

  def draw(self, rng: np.random.Generator, images: np.ndarray, label) -> Images:
    """Sample lesions [L] with the given numbers of images and labels."""
    normal = lambda n: rng.standard_normal((n, DIMENSIONS), np.float32)
    lesion = np.repeat(np.arange(len(images)), images)
    own = normal(len(images))[lesion] * np.float32(np.sqrt(LESION_PART))
    noise = normal(len(lesion)) * np.float32(np.sqrt(1 - LESION_PART))
    label = label[lesion]
    x = self.mean[label] + self.scale[label] * (own + noise)
    return Images(x, label, lesion)


def moments(images: Images, weights: np.ndarray) -> np.ndarray:
  """Sum 1, x and x x' by class, with weights [S, N]; to [S, K, 1 + D + D²]."""
  terms = images.terms
  classes = _by_class(images.label)
  return np.stack([weights[:, of] @ terms[of] for of in classes], 1)


def fit(sums: np.ndarray, shrinkage: float, power: float) -> np.ndarray:
  """Fit linear discriminants to moments [S, K, …]: [S, K, D + 1], offset last.

  All classes have the same weight in the covariance.
  """
  mean, covariance = gaussians(sums)
  pooled = shrink(covariance.mean(1), shrinkage)
  slope = np.linalg.solve(pooled, mean.swapaxes(1, 2)).swapaxes(1, 2)
  frequency = sums[..., 0] / sums[..., 0].sum(-1, keepdims=True)
  offset = power * np.log(frequency) - (slope * mean).sum(-1) / 2
  return np.concatenate([slope, offset[..., None]], -1).astype(np.float32)


def gaussians(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Compute means and covariances of moments [..., 1 + D + D²]."""
  rest = sums[..., 1:] / sums[..., :1]
  mean, square = rest[..., :DIMENSIONS], rest[..., DIMENSIONS:]
  square = square.reshape(*mean.shape, DIMENSIONS)
  return mean, square - mean[..., None] * mean[..., None, :]


def shrink(covariance: np.ndarray, part: float) -> np.ndarray:
  """Shrink covariances to multiples of the identity."""
  size = np.trace(covariance, axis1=-2, axis2=-1) / DIMENSIONS
  return (1 - part) * covariance + part * size[..., None, None] * np.eye(
    DIMENSIONS
  )


def correct(classifiers: np.ndarray, images: Images) -> np.ndarray:
  """Return whether classifiers [S, K, D + 1] are correct: [S, N]."""
  x = np.concatenate([images.x, np.ones((len(images.x), 1), np.float32)], 1)
  right = np.empty((len(classifiers), len(x)), bool)
  for k, of in enumerate(_by_class(images.label)):
    scores = classifiers.swapaxes(0, 1) @ x[of].T  # [K, S, n]
    right[:, of] = scores[k] >= scores.max(0)
  return right


def recalls(right: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Average [S, N] by class: [S, K]."""
  return np.stack([right[:, of].mean(1) for of in _by_class(label)], 1)


def _by_class(label: np.ndarray) -> list[slice]:
  """Return the slice of each class in sorted labels."""
  ends = np.searchsorted(label, np.arange(len(LESIONS) + 1))
  return [slice(*pair) for pair in itertools.pairwise(ends)]


def synthesize(
  rng: np.random.Generator,
  training: Images,
  population: Population,
  error: float,
) -> np.ndarray:
  """Fit a generator, and fill up the classes from it: moments [1, K, …].

  The generator has one Gaussian per class. Its covariance is half the class's
  own and half the mean over classes, from the training images. Its mean is a
  mixture of the training images' mean and of a mean from elsewhere.
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
  """Training images, synthetic images, and classifiers for any seeds."""

  def __init__(self, rng, training: Images, population: Population):
    self.rng, self.training = rng, training
    self.synthetic = {None: 0} | {
      name: synthesize(rng, training, population, error)
      for name, error in SCENARIOS.items()
    }

  def seeds(self, number: int) -> np.ndarray:
    """Sample new seeds: moments of the training images, weighted by each seed.

    A lesion's weight is a power of an exponentially distributed number, with
    mean 1. (The number itself would give a Bayesian bootstrap, Rubin 1981.)
    """
    lesions = self.training.lesion.max() + 1
    luck = self.rng.standard_exponential((number, lesions), np.float32)
    luck = luck**LUCK / math.gamma(1 + LUCK)
    return moments(self.training, luck[:, self.training.lesion])

  def train(self, kind: str | None, arm: int, seeds: np.ndarray) -> np.ndarray:
    """Train with the synthetic images of a scenario, or with none."""
    return fit(seeds + self.synthetic[kind], *ARMS[arm])

  def choose(
    self, kind: str | None, validation: Images
  ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Choose arms by their first seeds.

    Returns:
      For each of `CHOICES`, the arms [S] with which the seeds are scored, and
      their classifiers [S, K, D + 1].
    """
    arms = np.array(
      [self.train(kind, arm, self.seeds(SEEDS)) for arm in range(len(ARMS))]
    )
    first = arms.reshape(-1, *arms.shape[2:])
    scores = recalls(correct(first, validation), validation.label).mean(1)
    scores = scores.reshape(len(ARMS), SEEDS)
    best = np.argmax(scores.sum(1))
    others = np.argmax(scores.sum(1, keepdims=True) - scores, 0)
    more = self.train(kind, best, self.seeds(SEEDS_MOST - SEEDS))
    choices = {}
    same = np.full(SEEDS, best)
    for choice, chosen in zip(CHOICES, (same, others), strict=True):
      classifiers = np.concatenate([arms[chosen, np.arange(SEEDS)], more])
      by_seed = np.append(chosen, np.full(SEEDS_MOST - SEEDS, best))
      choices[choice] = by_seed, classifiers
    return choices


def tallies(
  right: np.ndarray, label: np.ndarray, weights: np.ndarray
) -> list[statistics.Tally]:
  """Tally [S, N], as far as balanced accuracy needs it.

  Errors count as the next class; values that are not needed are 0.
  """
  weights = np.concatenate([np.ones((1, len(label)), np.float32), weights])
  classes = len(LESIONS)
  counts = np.zeros((len(right), len(weights), classes, classes))
  for k, of in enumerate(_by_class(label)):
    own = weights[:, of]
    hits = (own @ right[:, of].T.astype(np.float32)).T
    counts[:, :, k, k] = hits
    counts[:, :, k, (k + 1) % classes] = own.sum(1) - hits
  none = np.zeros(len(weights))
  within = {"mean_auc": none, "ece": none, "auc": none[:, None]}
  return [statistics.Tally(one, none, within) for one in counts]


def simulate(number: int, seed: int, size: Size) -> list[dict]:
  """Simulate one study: one row per scenario, choice and rule for seeds."""
  rng = np.random.default_rng([seed, number])
  population = Population()
  images, label = _lesions(size.lesions)
  everything = population.draw(rng, images, label)
  fold_of = tfds_ham10000.folds(
    [f"{number}-{lesion}" for lesion in everything.lesion],
    everything.label.tolist(),
    NUM_FOLDS,
    seed,
  )
  # All scenarios share the classical arms, the weights and the lesions.
  kinds = (None, *SCENARIOS)
  predicted = {(choice, kind): [] for choice in CHOICES for kind in kinds}
  true = {key: [] for key in predicted}
  for f in range(NUM_FOLDS):
    after = (fold_of - f) % NUM_FOLDS
    test, validation = everything[after == 0], everything[after == 1]
    fold = Fold(rng, everything[after > 1], population)
    weights = _weights(test, f, size.resamples, seed)
    # The arms' true values share seeds and images, which makes their difference
    # less noisy. They are computed twice, to estimate the remaining noise.
    many = np.repeat(np.arange(len(LESIONS)), size.true_images)
    one_each = np.ones_like(many)
    halves = [
      (fold.seeds(size.true_seeds), population.draw(rng, one_each, many))
      for _ in range(2)
    ]
    for kind in kinds:
      choices = fold.choose(kind, validation)
      value = np.zeros((len(ARMS), 2, len(LESIONS)))
      for arm in np.unique([arms for arms, _ in choices.values()]):
        for half, (seeds, new) in enumerate(halves):
          right = correct(fold.train(kind, arm, seeds), new)
          value[arm, half] = recalls(right, new.label).mean(0)
      for choice, (by_seed, classifiers) in choices.items():
        right = correct(classifiers, test)
        predicted[choice, kind].append(tallies(right, test.label, weights))
        true[choice, kind].append(value[by_seed])
  # [F, K]: the folds' shares of each class.
  share = np.zeros((NUM_FOLDS, len(LESIONS)))
  np.add.at(share, (fold_of, everything.label), 1)

  @functools.cache
  def draw(arm, seeds, folds):
    tallies = [fold[:seeds] for fold in predicted[arm][:folds]]
    return statistics.draw(tallies)["balanced_accuracy"]

  rows = []
  for name, choice in itertools.product(SCENARIOS, CHOICES):
    gain = np.subtract(*(np.array(true[choice, k]) for k in (name, None)))
    pair = (choice, name), (choice, None)
    for rule, result in _rules(predicted, pair, draw, number).items():
      folds = result["folds"]
      part = share[:folds] / share[:folds].sum(0)
      # The mean over seeds of [F, S, 2, K].
      halves = gain[:folds, : result["seeds"]].mean(1)
      halves = (halves * part[:, None]).sum(0).mean(1)
      row = {"scenario": name, "choice": choice, "rule": rule}
      row |= {"truth": halves.mean()} | result
      rows.append(row | {"truth_error": (halves[0] - halves[1]) / 2})
  return rows


def _weights(test: Images, fold: int, resamples: int, seed: int) -> np.ndarray:
  """Resample a fold's lesions.

  A fold has the same number of lesions per class in all studies, but always new
  ones, so all studies can share the weights.
  """
  _, first, lesion = np.unique(
    test.lesion, return_index=True, return_inverse=True
  )
  labels = tuple(test.label[first].tolist())
  return _weights_of_lesions(labels, fold, resamples, seed)[:, lesion]


@functools.lru_cache(maxsize=NUM_FOLDS)
def _weights_of_lesions(labels, fold, resamples, seed):
  return statistics.bootstrap_weights(
    np.arange(len(labels)), np.array(labels), resamples, [seed, fold]
  )


def _lesions(part: float) -> tuple[np.ndarray, np.ndarray]:
  """List lesions: numbers of images, and labels."""
  images, label = [], []
  for k, counts in enumerate(LESIONS.values()):
    sizes = np.repeat(np.arange(len(counts)) + 1, counts)[:: round(1 / part)]
    images.append(sizes)
    label.append(np.full(len(sizes), k))
  return np.concatenate(images), np.concatenate(label)


def _rules(predicted: dict, arms: tuple, draw, number: int) -> dict[str, dict]:
  """Compute a difference's intervals by several rules for seeds."""
  pair = [predicted[arm] for arm in arms]

  def compare(seeds, folds=NUM_FOLDS):
    synthetic, classical = (draw(arm, seeds, folds) for arm in arms)
    return synthetic - classical

  def row(draws, first=None, level=0.95):
    found = statistics.interval(draws, level, seed=number, first=first)
    folds, seeds = draws.by_seed.shape[:2]
    gains = [
      np.subtract(*(_scored(arm[f][:seeds]) for arm in pair))
      for f in range(folds)
    ]
    between = statistics.between_folds(gains, TEST_TO_TRAIN, level)
    numbers = {
      "low": found.low,
      "high": found.high,
      "between_low": between[0],
      "between_high": between[1],
      "seed_sd": found.seed_sd,
      "value": found.value,
      "score": np.mean([_scored(fold[:seeds]) for fold in pair[1]]),
    }
    numbers = {name: float(value) for name, value in numbers.items()}
    return numbers | {"folds": folds, "seeds": seeds}

  fixed = compare(SEEDS)
  needed = statistics.seeds_needed(fixed, UNTIL, SEEDS_MOST, seed=number)
  more = fixed if needed in (None, SEEDS) else compare(needed)
  rules = {
    f"{SEEDS} seeds": row(fixed),
    f"until {UNTIL}": row(more, SEEDS),
    f"{SEEDS} seeds, {STRICT:.2%}": row(fixed, level=STRICT),
  }
  if arms[0][0] == CHOICES[-1]:
    rules |= {"1 fold": row(compare(SEEDS, 1))}
  return rules


def _scored(fold: list[statistics.Tally]) -> float:
  """Compute the balanced accuracy of one fold's seeds."""
  counts = np.mean([tally.confusion[0] for tally in fold], 0)
  return float(classification.of_counts(counts)["balanced_accuracy"])


_CELL = ("scenario", "choice", "rule")


def summarize(rows: list[dict]) -> list[dict]:
  """Count correct results: one row per scenario, choice and rule."""
  cells = {}
  for row in rows:
    cells.setdefault(tuple(row[name] for name in _CELL), []).append(row)
  table = []
  for key, cell in cells.items():
    column = {
      name: np.array([row[name] for row in cell])
      for name in cell[0]
      if name not in _CELL
    }
    low, high, truth = column["low"], column["high"], column["truth"]
    says_helps, says_hurts = low > 0, high < 0
    false = says_helps & (truth <= 0) | says_hurts & (truth >= 0)
    # NaN where there is no interval, as between folds if there is only one.
    covers = lambda start, end, value: np.where(
      np.isnan(start), np.nan, (start <= value) & (value <= end)
    )
    row = dict(zip(_CELL, key, strict=True)) | {"studies": len(cell)}
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
    row["bias"] = float((column["value"] - truth).mean())
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


# Columns of the table in README.md: heading and format.
_SHOWN = (
  ("scenario", lambda row: row["scenario"]),
  ("arms chosen", lambda row: row["choice"]),
  ("seeds", lambda row: row["rule"]),
  ("true difference", lambda row: f"{row['truth']:+.4f}"),
  ("coverage", lambda row: _percent(row, "coverage")),
  ("false verdicts", lambda row: _percent(row, "false_verdicts")),
  (
    "says helps, hurts",
    lambda row: f"{100 * row['helps']:.0f} %, {100 * row['hurts']:.0f} %",
  ),
  ("bias", lambda row: f"{row['bias']:+.4f}"),
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
  if share is None or np.isnan(share):
    return "–"
  return f"{100 * share:.1f} ± {100 * error:.1f} %"


def show(table: list[dict], readme: str) -> str:
  """Write the rows for all folds between README.md's marks."""
  start, end = "<!-- written by simulate.py -->", "<!-- /simulate.py -->"
  lines = [[heading for heading, _ in _SHOWN]] + [
    [text_of(row) for _, text_of in _SHOWN]
    for row in table
    if row["rule"] != "1 fold"
  ]
  return files.put_between(readme, start, end, files.markdown(lines))


def main() -> None:
  """Simulate, and write the files of this folder."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add("--studies", type=int, default=1000)
  add("--seed", type=int, default=0)
  add("--processes", type=int, default=2)
  add("--out", type=pathlib.Path, required=True)
  args = parser.parse_args()
  if args.studies < 1:
    parser.error(f"--studies={args.studies}: at least 1 is needed.")
  # One core per process. NumPy reads these when the new processes import it.
  os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
  start, rows = time.monotonic(), []
  work = functools.partial(simulate, seed=args.seed, size=Size())
  with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
    for done, study in enumerate(pool.imap(work, range(args.studies)), 1):
      rows += study
      if done % 10 == 0 or done == args.studies:
        minutes = (time.monotonic() - start) / 60
        left = minutes * (args.studies / done - 1)
        message = f"{done} studies in {minutes:.1f} min, {left:.1f} left"
        print(message, flush=True)
  minutes = round((time.monotonic() - start) / 60)
  write(rows, args.out, studies=args.studies, seed=args.seed, minutes=minutes)


def write(rows: list[dict], out: pathlib.Path, **notes) -> None:
  """Write coverage.json, coverage.csv and, if it exists, README.md's table."""
  table = summarize(rows)
  out.mkdir(parents=True, exist_ok=True)
  notes["size"] = dataclasses.asdict(Size())
  files.write_json(out / "coverage.json", notes | {"rows": table})
  cells = [
    [x if isinstance(x, int | str) else f"{x:.5f}" for x in row.values()]
    for row in table
  ]
  files.write_text(out / "coverage.csv", files.table([table[0], *cells]))
  readme = out / "README.md"
  if readme.exists():
    files.write_text(readme, show(table, readme.read_text()))


if __name__ == "__main__":
  main()
