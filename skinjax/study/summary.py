"""Summarizes the predictions of a study as plain JSON with this schema.

```
{
  schema: 3, name, data, drawn: bool, subject, generator, split,
  groups_known: bool, compute, command,
  config: {…}, versions: {…}, hardware, minutes: {network: minutes},
  notes: [str], next_steps: [str],
  collapse: the ratio below which a class has collapsed,
  diversity: {class: {diversity_ratio, collapsed}},
  original: [{classes, without, with, majority,
              measured: null or {without, with, majority}}],
  folds: [int], seeds: int, level, num_resamples,
  carried: [str], not_carried: [str],
  networks: [{name, pretrained: [str], left_out: {arm: why}}],
  classes: [{name, train_images, train_lesions, synthetic_images, test_images,
             test_lesions}],
  test_lesions: int, majority_line: {class, accuracy, balanced_accuracy},
  choices: {network: {fold: {with: arm, without: arm, …}}},  # see plan.py
  arms: [{network, name, description, seeds, recipe: {…} or null,
          scores: {metric: ESTIMATE},                 # classification.SCALARS
          recall: {class: ESTIMATE}, auc: {class: ESTIMATE},
          confusion: [K][K] counts, mean over seeds, rows are true classes,
          reliability: {confidence, accuracy, share: [15]}, seeds pooled}],
  differences: [{network, arm, rival, metric, class: str|null, level,
                 verdict|null, p|null, p_adjusted|null,
                 more_images: null or {value, low, high}, …ESTIMATE}],
  matched: [{network, arm, rival, metric, level, verdict: null,
             p|null, …ESTIMATE}],
  learning_curve: null or {network, per_doubling, points: [{arm, fraction,
                  images, …ESTIMATE}]},
  verdict: {network, arm, rival, metric, kind, leak_excluded: bool,
            other_pretraining: [str], headline, detail, seeds,
            until: null or {…}, …ESTIMATE, p, detectable,
            more_images: {value, low, high}, between_folds: {low, high},
            by_fold: {fold: difference},
            candidates: {without: number of arms, with: number of arms}},
  external: null or {name, note: str, notes: [str], images, lesions, traced,
                     left_out: {class: images}, classes: [{name, images}],
                     majority_line: {class, accuracy, balanced_accuracy},
                     arms: [{name, scores, recall, auc}],
                     difference: {network, arm, rival, metric, level,
                          …ESTIMATE}}
}
ESTIMATE = {value, low, high, seed_sd}
```

The arms of a network end with its two procedures, `WITHOUT` and `WITH`
synthetic images (see scoring.py): in each fold, the arm that was chosen there.
`verdict` depends only on the difference of the two in balanced accuracy, by the
verdict's network. Their difference in recall of each class (at
1 - (1 - level) / K, Bonferroni over K classes) is reported as well. These two
procedures have all seeds that were run, in `arms` too; everything else has the
first `seeds`. All other arms with all real images, and the procedures of the
other networks, are compared with WITHOUT of their network. They are one family:
their p-values are adjusted (Holm), their intervals are not. An arm that every
fold chose is the same as the procedure: the two count once, and are not in the
family if the procedure gives the verdict; the arm's difference in balanced
accuracy is then that of the procedure.

`matched` compares each arm that has synthetic images with the arm that is
trained in the same way without them: the two do not differ in how classes are
balanced, as the arms chosen in each fold may. These differences are not
adjusted for their number.

Values that do not exist (recall of a class without test images, standard
deviation of one seed) are null. If several seeds predict a test image, they
have equal weight; folds are pooled as in statistics.draw. `detectable` is the
difference that a study with the variance of this one would distinguish from
zero with a power of 80%; null if the variance between seeds has fewer than 8
degrees of freedom, as it is then too rough. `more_images` is how many more real
images, as a fraction of the existing ones, would have the same effect by the
network's learning curve; its interval includes the error of the curve's slope,
and it is of the first `seeds`. Its values are null without a curve that
certainly rises, or if that would have to be extrapolated beyond ten times the
images, or a tenth.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from skinjax.metrics import classification, statistics
from skinjax.runtime import files
from skinjax.study import learning_curve, scoring, verdict

# The student project that asked the question first: accuracies on HAM10000
# at 64x64, 500 synthetic images, and "always nevus" from the class counts.
ORIGINAL = (
  {"classes": 7, "without": 0.675, "with": 0.679, "majority": 0.6695},
  {"classes": 3, "without": 0.75, "with": 0.75, "majority": 0.7519},
)
ORIGINAL_ARMS = ("real", "real_500")  # of configs/original.py
_POWER = 0.842  # standard errors, for a power of 80%
# Of the variance between seeds, for `detectable`. With 8, the true standard
# deviation is up to 1.9 times the estimate (at 95%), with 2 up to 6.3 times.
_LEAST_FREEDOM = 8


@dataclasses.dataclass(frozen=True)
class About:
  """What a reader must know about a study, in addition to its predictions."""

  name: str  # short name of the study
  data: str  # the data set in words, with its image size
  drawn: bool  # whether a program drew the pictures
  split: str  # how training and test images were separated
  compute: str  # what is the same for every arm (network, steps, batch)
  command: str  # reproduces this study
  config: Mapping[str, Any]  # of the study, JSON-serializable
  diversity: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
  collapse: float = 0.5  # a class has collapsed if its ratio is below
  generator: str = ""  # of the synthetic images, in words
  subject: str = "GAN images"  # a plural noun that begins a sentence
  # Whether it is known that the generator of the synthetic images has seen no
  # test lesion.
  leak_excluded: bool = True
  # Pretrained networks that the generator was trained through, and from which
  # the network of the verdict does not start.
  other_pretraining: Sequence[str] = ()
  groups_known: bool = True  # whether images of one lesion are known
  notes: Sequence[str] = ()  # limits of this study, besides those of all
  # Accuracies of the original project on the same data.
  original: Sequence[Mapping[str, Any]] = ()
  # What to run next; by default what the verdict suggests.
  next_steps: Sequence[str] = ()
  versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
  hardware: str = ""
  minutes: Mapping[str, float] = dataclasses.field(default_factory=dict)
  own_images: bool = False  # whether each seed has its own images
  own_generators: bool = False  # and is known to have its own generator


def summarize(
  *,
  about: About,
  folds: Sequence[scoring.FoldDone],
  class_names: Sequence[str],
  networks: Mapping[str, Mapping[str, Any]],
  arms: Mapping[str, Mapping[str, Any]],
  verdict_network: str,
  seeds: int,
  until: Mapping[str, Any] | None = None,
  level: float = 0.95,
  num_resamples: int = 0,
  seed: int = 0,
) -> dict[str, Any]:
  """Summarize a study: every arm, every difference, and the verdict.

  Args:
    about: the description of the study.
    folds: its folds; each has the same networks and arms.
    class_names: by label.
    networks: by name, `pretrained` and `left_out` of the schema.
    arms: by name, `description` and the rest of an arm's config.
    verdict_network: the network that gives the verdict.
    seeds: the number of seeds that every arm has; the first ones.
    until: of plan.json, if more seeds were run for the verdict.
    level: of the intervals.
    num_resamples: of the lesions; 0 for the number that the wider intervals of
      classes need.
    seed: of the resamples.

  Returns:
    The summary (see the module's docstring), without NaN and numpy types.
  """
  # So that five resamples are beyond each end of a class's interval.
  wanted = math.ceil(10 * len(class_names) / (1 - level))
  num_resamples = num_resamples or max(statistics.RESAMPLES, wanted)
  scorer = scoring.scorer(folds, resamples=num_resamples, seed=seed)
  stopped = (until or {}).get("seeds", seeds)
  scored = _Scored(
    scorer=scorer,
    draws={
      (network, arm): scorer.draws(network, arm, seeds)
      for network in networks
      for arm in _names(folds, network)
    },
    decisive={
      arm: scorer.draws(verdict_network, arm, stopped) for arm in scoring.KEYS
    },
    arms=arms,
    network=verdict_network,
    seeds=seeds,
    stopped=stopped,
    level=level,
    seed=seed,
  )
  rows = _arm_rows(scored, class_names)
  classes = _classes(folds, class_names)
  curve = learning_curve.read(rows, scored.draws, arms, folds, verdict_network)
  differences, primary = _differences(scored, classes, curve)
  by_fold = np.subtract(
    scorer.by_fold(verdict_network, scoring.WITH, stopped),
    scorer.by_fold(verdict_network, scoring.WITHOUT, stopped),
  )
  between = statistics.between_folds(
    by_fold,
    sum(len(f.labels) for f in folds)
    / sum(np.sum(f.train_counts) for f in folds),
    level,
  )
  train_counts = np.sum([f.train_counts for f in folds], axis=0)
  labels = np.concatenate([f.labels for f in folds])
  # A resumed study may have other arms than when a fold chose.
  validated = (set(f.choices[verdict_network]["validation"]) for f in folds)
  candidates = scoring.candidates(arms, set.intersection(*validated))
  description = dataclasses.asdict(about)
  majority = _majority_line(labels, train_counts, class_names)
  for told_below in ("own_images", "own_generators"):
    del description[told_below]
  for in_verdict in ("leak_excluded", "other_pretraining"):
    del description[in_verdict]
  return files.plain(
    {
      "schema": 3,
      **description,
      "next_steps": about.next_steps
      or verdict.next_steps(
        primary["verdict"], drawn=about.drawn, one_fold=len(folds) == 1
      ),
      "folds": [fold.number for fold in folds],
      "seeds": seeds,
      "level": level,
      "num_resamples": num_resamples,
      **_carried(about, len(folds), seeds),
      "networks": [{"name": name, **row} for name, row in networks.items()],
      "original": _original(
        about.original,
        [row for row in rows if row["network"] == verdict_network],
        majority,
      ),
      "classes": classes,
      "test_lesions": sum(len(np.unique(f.groups)) for f in folds),
      "majority_line": majority,
      "choices": {
        network: {str(f.number): f.choices[network] for f in folds}
        for network in networks
      },
      "arms": rows,
      "differences": differences,
      "matched": _matched(scored),
      "learning_curve": curve,
      "verdict": _verdict(
        about,
        primary,
        between,
        level,
        stopped,
        until,
        freedom=len(folds) * (seeds - 1),
      )
      | {
        "by_fold": {
          str(f.number): gap for f, gap in zip(folds, by_fold, strict=True)
        },
        "candidates": {key: len(found) for key, found in candidates.items()},
      },
      "external": None,
    }
  )


def summarize_external(
  *,
  folds: Sequence[scoring.FoldDone],
  network: str,
  seeds: int,
  name: str,
  note: str,
  notes: Sequence[str] = (),
  traced: int,
  left_out: Mapping[str, int],
  labels: np.ndarray,
  groups: np.ndarray,
  class_names: Sequence[str],
  level: float = 0.95,
  num_resamples: int = statistics.RESAMPLES,
  seed: int = 0,
) -> dict[str, Any]:
  """Summarize the scores of a study's network on an external test set.

  Each image is predicted by the classifiers of every fold, with equal weight.
  `labels` and `groups` are those of the images; `note`, `notes`, `traced` and
  `left_out` describe what is known about them. The difference of the two
  procedures gets no verdict: only internal test lesions give one.

  Returns:
    `external` of the schema.
  """
  weights = statistics.bootstrap_weights(groups, labels, num_resamples, seed)
  scored = scoring.Scorer(
    folds,
    [fold.external for fold in folds],
    [labels] * len(folds),
    # The images are the same in every fold, so the resamples are, too.
    [weights] * len(folds),
  )
  names = _names(folds, network)
  draws = {arm: scored.draws(network, arm, seeds) for arm in names}
  with_, without = (
    draws[procedure][scoring.HEADLINE_METRIC]
    for procedure in (scoring.WITH, scoring.WITHOUT)
  )
  (difference,) = _estimates(
    statistics.interval(with_ - without, level, seed=seed)
  )
  rows = []
  for arm in names:
    predicted = scored.predicted(network, arm, seeds)
    whole = _score_arm(draws[arm], predicted, class_names, seeds, level, seed)
    kept = {key: whole[key] for key in ("scores", *classification.BY_CLASS)}
    rows.append({"name": arm, **kept})
  counts = np.bincount(labels, minlength=len(class_names))
  train_counts = np.sum([fold.train_counts for fold in folds], axis=0)
  return files.plain(
    {
      "name": name,
      "note": note,
      "notes": notes,
      "images": len(labels),
      "lesions": len(np.unique(groups)),
      "traced": traced,
      "left_out": left_out,
      "classes": [
        {"name": class_name, "images": count}
        for class_name, count in zip(class_names, counts, strict=True)
      ],
      "majority_line": _majority_line(labels, train_counts, class_names),
      "arms": rows,
      "difference": {
        "network": network,
        "arm": scoring.WITH,
        "rival": scoring.WITHOUT,
        "metric": scoring.HEADLINE_METRIC,
        "level": level,
        **difference,
      },
    }
  )


@dataclasses.dataclass(frozen=True)
class _Scored:
  """The draws of a study, and what all comparisons of them share."""

  scorer: scoring.Scorer
  # By network and arm or procedure, of the seeds that all arms have.
  draws: Mapping[tuple[str, str], Mapping[str, statistics.Draws]]
  # Of the two procedures of the verdict, of all of their seeds.
  decisive: Mapping[str, Mapping[str, statistics.Draws]]
  arms: Mapping[str, Mapping[str, Any]]  # by name; see `summarize`
  network: str  # of the verdict
  seeds: int  # that all arms have
  stopped: int  # seeds of the verdict
  level: float
  seed: int


def _arm_rows(scored: _Scored, class_names) -> list[dict[str, Any]]:
  """Score every arm and procedure: rows of `arms`, as in the schema."""
  rows = []
  for (network, arm), found in scored.draws.items():
    count, first = scored.seeds, None
    if network == scored.network and arm in scoring.KEYS:
      count, first, found = scored.stopped, scored.seeds, scored.decisive[arm]
    predicted = scored.scorer.predicted(network, arm, count)
    rows.append(
      {
        "network": network,
        "name": arm,
        "description": _described(scored.scorer, network, arm, scored.arms),
        "seeds": count,
        "recipe": scored.arms.get(arm),
        **_score_arm(
          found,
          predicted,
          class_names,
          count,
          scored.level,
          scored.seed,
          first=first,
        ),
      }
    )
  return rows


def _differences(
  scored: _Scored, classes, curve
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
  """Compare every arm with the procedure without synthetic images.

  Returns:
    Rows of `differences`, as in the schema, and the one that decides.
  """
  network, level, seed = scored.network, scored.level, scored.seed
  enough = _lesions_suffice(classes)
  slopes = {
    name: learning_curve.rising_slope(curve, name, scored.draws, level, seed)
    for name, arm in scored.draws
    if arm == scoring.WITHOUT
  }
  rows, family = [], {}  # by network and chosen arms: the same comparison
  for (name, arm), draws in scored.draws.items():
    whole = scored.arms.get(arm, {}).get("fraction", 1.0) == 1.0
    asked = scored.scorer.arms(name, arm)
    if name not in slopes or not whole:
      continue
    if asked == scored.scorer.arms(name, scoring.WITHOUT):
      continue
    decides = name == network and arm == scoring.WITH
    rival = scored.draws[name, scoring.WITHOUT]
    pair = draws, rival
    if decides:
      pair = scored.decisive[scoring.WITH], scored.decisive[scoring.WITHOUT]
    found = _compare(
      pair,
      classes,
      level,
      seed,
      first=scored.seeds if decides else None,
      primary=decides,
      testable=scored.stopped > 1 and enough,
    )
    for row in found:
      row |= {"network": name, "arm": arm, "rival": scoring.WITHOUT}
      if row["metric"] == scoring.HEADLINE_METRIC:
        gap = draws[row["metric"]] - rival[row["metric"]]
        row["more_images"] = learning_curve.more_images(
          gap, slopes[name], level, seed
        )
        family.setdefault((name, *asked), []).append(row)
    rows += found
  # In rows of the same comparison, the procedure's is the last.
  chosen = scored.scorer.arms(network, scoring.WITH)
  *same, primary = family.pop((network, *chosen))
  for row in same:
    row |= {**primary, "arm": row["arm"]}
  _adjust(family.values(), level, testable=enough)
  return rows, primary


def _names(folds: Sequence[scoring.FoldDone], network: str) -> list[str]:
  """List a network's arms, then the procedures that all its folds have."""
  names = [arm for n, arm in folds[0].predictions if n == network]
  for procedure, key in scoring.KEYS.items():
    if all(fold.choices[network].get(key) for fold in folds):
      names.append(procedure)
  return names


def _original(reported, rows, majority) -> list[dict[str, Any]]:
  """Add this study's accuracies to those reported, if it has the arms."""
  accuracies = {row["name"]: row["scores"]["accuracy"] for row in rows}
  compared = []
  for row in reported:
    measured = None
    same = row["classes"] == len(rows[0]["recall"])
    if same and set(ORIGINAL_ARMS) <= accuracies.keys():
      without, with_ = (accuracies[name] for name in ORIGINAL_ARMS)
      line = majority["accuracy"]
      measured = {"without": without, "with": with_, "majority": line}
    compared.append({**row, "measured": measured})
  return compared


def _majority_line(labels, train_counts, class_names) -> dict[str, Any]:
  most = int(np.argmax(train_counts))
  present = np.unique(labels)
  return {
    "class": class_names[most],
    "accuracy": classification.majority_line(labels, train_counts),
    # The recall is 1 for this class, if it is present, and 0 for all others.
    "balanced_accuracy": (most in present) / len(present),
  }


def _described(scored, network: str, arm: str, arms) -> str:
  if arm in arms:
    return arms[arm]["description"]
  chosen = scored.arms(network, arm)
  counted = {name: chosen.count(name) for name in dict.fromkeys(chosen)}
  if len(counted) == 1:
    return f"chosen: {chosen[0]}"
  return "chosen by fold: " + ", ".join(
    f"{name} in {count}" for name, count in counted.items()
  )


def _classes(folds, class_names) -> list[dict[str, Any]]:
  labels = np.concatenate([f.labels for f in folds])
  groups = np.concatenate([f.groups for f in folds])
  mean = lambda counts: np.rint(np.mean(counts, axis=0)).astype(int)
  train, lesions, added = (
    mean([getattr(f, key) for f in folds])
    for key in ("train_counts", "train_groups", "added")
  )
  return [
    {
      "name": name,
      "train_images": train[label],
      "train_lesions": lesions[label],
      "synthetic_images": added[label],
      "test_images": np.sum(labels == label),
      "test_lesions": len(np.unique(groups[labels == label])),
    }
    for label, name in enumerate(class_names)
  ]


def _carried(about: About, folds: int, seeds: int) -> dict[str, list]:
  """List what the intervals account for, and what they do not."""
  carried = ["test lesions"]
  not_carried = ["other training lesions"]
  if folds > 1:
    not_carried[0] += (
      " (the folds share most of theirs; the interval between folds, next to "
      "the verdict, is the usual approximation)"
    )
  (carried if seeds > 1 else not_carried).append("seeds of the classifiers")
  generators = about.own_generators and seeds > 1
  if about.own_images and seeds > 1 and not generators:
    carried.append("images of each seed")
  (carried if generators else not_carried).append("retrained generators")
  not_carried.append("other clinics, cameras and years")
  return {"carried": carried, "not_carried": not_carried}


def _score_arm(
  draws,
  predicted,
  class_names,
  seeds: int,
  level: float,
  seed: int,
  first: int | None = None,
) -> dict[str, Any]:
  """Score one arm, as in the schema."""
  estimates = {
    name: _estimates(statistics.interval(found, level, seed, first))
    for name, found in draws.items()
  }
  return {
    "scores": {name: estimates[name][0] for name in classification.SCALARS},
    **{
      name: dict(zip(class_names, estimates[name], strict=True))
      for name in classification.BY_CLASS
    },
    "confusion": classification.confusion(*predicted) / seeds,
    "reliability": classification.reliability(*predicted),
  }


def _compare(
  pair,
  classes,
  level: float,
  seed: int,
  *,
  first,
  primary: bool,
  testable: bool,
) -> list[dict[str, Any]]:
  """Compare an arm's draws with its baseline's: every score, recall by class.

  Classes have the level 1 - (1 - level) / K, and a verdict if the pair is the
  primary one. Returns rows of `differences`, as in the schema.
  """
  rows = []
  nothing = {"p": None, "p_adjusted": None, "more_images": None}
  for metric in classification.SCALARS:
    paired = pair[0][metric] - pair[1][metric]
    (estimate,) = _estimates(statistics.interval(paired, level, seed, first))
    row = {"metric": metric, "class": None, "level": level, "verdict": None}
    row |= nothing | estimate
    if metric == scoring.HEADLINE_METRIC:
      row["p"] = float(statistics.p_value(paired, first))
      if primary:
        ends = estimate["low"], estimate["high"]
        row["verdict"] = verdict.decide(*ends, testable=testable)
    rows.append(row)
  strict = 1 - (1 - level) / len(classes)
  paired = pair[0]["recall"] - pair[1]["recall"]
  estimates = _estimates(statistics.interval(paired, strict, seed, first))
  for item, estimate in zip(classes, estimates, strict=True):
    kind = None
    if primary:
      enough = testable and item["test_lesions"] >= verdict.MIN_LESIONS
      ends = estimate["low"], estimate["high"]
      kind = verdict.decide(*ends, testable=enough)
    row = {"metric": "recall", "class": item["name"], "level": strict}
    rows.append(row | {"verdict": kind} | nothing | estimate)
  return rows


def _lesions_suffice(classes) -> bool:
  """Return whether there are enough test lesions for a verdict of all classes.

  The variance of balanced accuracy depends on the harmonic mean of the classes'
  numbers of test lesions.
  """
  counts = [item["test_lesions"] for item in classes]
  return all(counts) and bool(stats.hmean(counts) >= verdict.MIN_LESIONS)


def _matched(scored: _Scored) -> list[dict[str, Any]]:
  """Compare arms with the same training without synthetic images."""
  rows, metric = [], scoring.HEADLINE_METRIC
  own = collections.defaultdict(dict)  # by network: arms, not procedures
  for network, name in scored.draws:
    if name in scored.arms:
      own[network][name] = scored.arms[name]
  for network, name in scored.draws:
    arm = scored.arms.get(name)
    if not arm or arm["added"] != "synthetic" or arm["fraction"] < 1:
      continue
    alike = scoring.unaided(own[network], arm["changes"])
    if not alike:
      continue
    draws, rival = (scored.draws[network, n] for n in (name, alike[0]))
    paired = draws[metric] - rival[metric]
    (estimate,) = _estimates(
      statistics.interval(paired, scored.level, scored.seed)
    )
    row = {"network": network, "arm": name, "rival": alike[0]}
    row |= {"metric": metric, "level": scored.level, "verdict": None}
    rows.append(row | {"p": float(statistics.p_value(paired))} | estimate)
  return rows


def _adjust(family, level: float, *, testable: bool) -> None:
  """Add adjusted p-values and the resulting verdicts to the rows of a family.

  `family` has one list of rows per comparison.
  """
  known = [rows for rows in family if not math.isnan(rows[-1]["p"])]
  adjusted = statistics.holm([rows[-1]["p"] for rows in known])
  for rows, p in zip(known, adjusted, strict=True):
    for row in rows:
      row["p_adjusted"] = p
      row["verdict"] = verdict.NO_DIFFERENCE
      if p < 1 - level:
        row["verdict"] = verdict.HELPS if row["value"] > 0 else verdict.HURTS
  for row in itertools.chain(*family):
    if not testable or row["verdict"] is None:
      row["verdict"] = verdict.CANNOT_TELL


def _verdict(
  about, decisive, between, level: float, stopped: int, until, *, freedom: int
) -> dict[str, Any]:
  kind = decisive["verdict"]
  ends = {key: decisive[key] for key in ("value", "low", "high")}
  plannable = freedom >= _LEAST_FREEDOM and ends["low"] < ends["high"]
  half = (ends["high"] - ends["low"]) / 2
  unsure = {
    "leak_excluded": about.leak_excluded,
    "other_pretraining": list(about.other_pretraining),
  }
  reach = float(stats.norm.ppf((1 + level) / 2))  # in standard errors
  return {
    "network": decisive["network"],
    "arm": decisive["arm"],
    "rival": decisive["rival"],
    "metric": scoring.HEADLINE_METRIC,
    "kind": kind,
    **unsure,
    "headline": verdict.headline(
      about.subject,
      kind,
      low=ends["low"],
      high=ends["high"],
      level=level,
      **unsure,
    ),
    "detail": verdict.detail(
      about.subject,
      network=decisive["network"],
      between=between,
      level=level,
      num_seeds=stopped,
      **ends,
    ),
    "seeds": stopped,
    "until": until,
    **ends,
    "seed_sd": decisive["seed_sd"],
    "p": decisive["p"],
    "detectable": half * (reach + _POWER) / reach if plannable else None,
    "more_images": decisive["more_images"],
    "between_folds": dict(zip(("low", "high"), between, strict=True)),
  }


def _estimates(interval: statistics.Interval) -> list[dict[str, float]]:
  """Split an interval, of one value or of one per class, into dicts."""
  names = [field.name for field in dataclasses.fields(interval)]
  columns = [np.atleast_1d(getattr(interval, name)) for name in names]
  rows = zip(*columns, strict=True)
  return [dict(zip(names, map(float, row), strict=True)) for row in rows]
