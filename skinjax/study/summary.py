"""From predictions to the summary of a study: plain JSON, one schema.

```
{
  schema: 1, name, data, drawn: bool, subject, split, compute, command,
  config: {…}, next_steps: [str], seeds: int, level: 0.95, num_resamples,
  diversity: {class: {diversity_ratio, collapsed, …}},
  classes: [{name, train_images, train_lesions|null, test_images,
             test_lesions}],
  majority_line: {class, accuracy},
  arms: [{name, description, seeds,
          synthetic: {class: images added},
          scores: {metric: ESTIMATE},                 # classification.SCALARS
          recall: {class: ESTIMATE}, auc: {class: ESTIMATE},
          confusion: [K][K] counts, mean over seeds, rows are true classes,
          reliability: {confidence, accuracy, share: [15]}, seeds pooled}],
  differences: [{arm, rival, metric, class: str|null, level, verdict|null,
                 …ESTIMATE}],
  verdict: {arm, rival, metric, kind, leak_excluded: bool, headline, detail,
            …ESTIMATE, largest_gain, largest_loss},
  original: [{classes, without, with, majority}], notes: [str],
  external: null or {name, note: str, notes: [str], images, lesions, traced,
                     left_out: {class: images}, classes: [{name, images}],
                     majority_line: {class, accuracy, balanced_accuracy},
                     arms: [{name, scores, recall, auc}],
                     difference: {arm, rival, metric, level, …ESTIMATE}}
}
ESTIMATE = {value, low, high, seed_sd}
```

What does not exist (recall of a class without test images, standard
deviation of one seed) is null. `differences` holds every score and every
class's recall, of each pair of arms that the study names. Only balanced
accuracy of the first pair decides `verdict`. Verdicts are also given for
balanced
accuracy against the other rivals and for the classes' recall (at
1 - (1 - level) / K, Bonferroni over K classes): these are secondary.
`largest_gain` and `largest_loss` are what the interval does not exclude.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.metrics import classification, statistics
from skinjax.runtime import files
from skinjax.study import verdict

HEADLINE_METRIC = "balanced_accuracy"

# The student project that asked the question first: accuracies on HAM10000
# at 64x64, 500 synthetic images, and "always nevus" from the class counts.
ORIGINAL = (
  {"classes": 7, "without": 0.675, "with": 0.679, "majority": 0.6695},
  {"classes": 3, "without": 0.75, "with": 0.75, "majority": 0.7519},
)


@dataclasses.dataclass(frozen=True)
class About:
  """What a reader must know of a study beside its predictions."""

  name: str  # short name of the study
  data: str  # the data set in words, with its image size
  drawn: bool  # whether a program drew the pictures
  split: str  # how train and test were told apart, with fold and seed
  compute: str  # what every arm had alike (network, steps, batch)
  command: str  # makes this study
  config: Mapping[str, Any]  # that of the study, JSON-able
  diversity: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
  subject: str = "GAN images"  # a plural noun that begins a sentence
  # Whether it is known that what made the synthetic images has seen no test
  # lesion.
  leak_excluded: bool = True
  notes: Sequence[str] = ()  # what limits this study beside what limits all
  # Accuracies of the project that asked first, of the same data.
  original: Sequence[Mapping[str, Any]] = ()
  # What to run next; by default what the verdict suggests.
  next_steps: Sequence[str] = ()


def summarize(
  *,
  about: About,
  arms: Mapping[str, np.ndarray],
  labels: np.ndarray,
  groups: np.ndarray,
  class_names: Sequence[str],
  train_counts: Sequence[int],
  train_groups: Sequence[int] | None = None,
  descriptions: Mapping[str, str] | None = None,
  num_synthetic: Mapping[str, Mapping[str, int]] | None = None,
  pairs: Sequence[tuple[str, str]],
  level: float = 0.95,
  num_resamples: int = 2000,
  seed: int = 0,
) -> dict[str, Any]:
  """Summarize a study: every arm, every difference, and the verdict.

  Arms have probabilities [S, N, K]; seed s of all arms is one seed. Test folds
  may be pooled along N, each predicted by its own model. `labels` [N] are
  integers, `groups` [N] the examples' lesions; `train_counts` and
  `train_groups` [K] count real training images and lesions, `num_synthetic` by
  arm and class the images added. Of the `pairs` (arm, rival) the first one
  decides; its rival is named beforehand: the strongest one there is without
  synthetic images, not the best one on this test set.

  Returns:
    The summary (see the module's docstring), free of NaN and of numpy types.

  Raises:
    ValueError: an arm of a pair missing or its own rival, or shapes that
      disagree.
  """
  for pair in pairs:
    if len(set(pair)) != 2 or not set(pair) <= set(arms):
      raise ValueError(f"A pair is two of the arms {list(arms)}, not {pair}.")
  candidate, reference = pairs[0]
  labels, groups = np.asarray(labels), np.asarray(groups)
  num_seeds = np.shape(arms[candidate])[0]
  shape = (num_seeds, len(labels), len(class_names))
  for name, probabilities in arms.items():
    if np.shape(probabilities) != shape or not num_seeds:
      raise ValueError(
        f"Arm {name!r} has shape {np.shape(probabilities)}, not {shape}."
      )
  weights = statistics.bootstrap_weights(groups, labels, num_resamples, seed)
  draws = {
    name: statistics.draw(p, labels, weights) for name, p in arms.items()
  }
  classes = [
    {
      "name": name,
      "train_images": train_counts[label],
      "train_lesions": None if train_groups is None else train_groups[label],
      "test_images": np.sum(labels == label),
      "test_lesions": len(np.unique(groups[labels == label])),
    }
    for label, name in enumerate(class_names)
  ]
  differences = [
    difference
    for arm, rival in pairs
    for difference in _compare(
      arm, rival, draws, classes, num_seeds, level, seed
    )
  ]
  decisive = next(d for d in differences if d["metric"] == HEADLINE_METRIC)
  kind = decisive["verdict"]
  # Without width, the interval excludes nothing: see `verdict.decide`.
  wide = decisive["low"] < decisive["high"]
  ends = {key: decisive[key] for key in ("value", "low", "high")}
  return files.plain(
    {
      "schema": 1,
      **dataclasses.asdict(about),
      "next_steps": about.next_steps
      or verdict.next_steps(kind, drawn=about.drawn),
      "seeds": num_seeds,
      "level": level,
      "num_resamples": num_resamples,
      "classes": classes,
      "majority_line": {
        "class": class_names[int(np.argmax(train_counts))],
        "accuracy": classification.majority_line(labels, train_counts),
      },
      "arms": [
        {
          "name": name,
          "description": (descriptions or {}).get(name, ""),
          "seeds": num_seeds,
          "synthetic": (num_synthetic or {}).get(name, {}),
          **_score_arm(
            probabilities, labels, draws[name], class_names, level, seed
          ),
        }
        for name, probabilities in arms.items()
      ],
      "differences": differences,
      "verdict": {
        "arm": candidate,
        "rival": reference,
        "metric": HEADLINE_METRIC,
        "kind": kind,
        "leak_excluded": about.leak_excluded,
        "headline": verdict.headline(
          about.subject, kind, leak_excluded=about.leak_excluded
        ),
        "detail": verdict.detail(
          candidate=candidate,
          reference=reference,
          level=level,
          num_seeds=num_seeds,
          **ends,
        ),
        **ends,
        "seed_sd": decisive["seed_sd"],
        "largest_gain": max(ends["high"], 0.0) if wide else None,
        "largest_loss": max(-ends["low"], 0.0) if wide else None,
      },
      "external": None,
    }
  )


def summarize_external(
  *,
  name: str,
  note: str,
  notes: Sequence[str] = (),
  traced: int,
  left_out: Mapping[str, int],
  arms: Mapping[str, np.ndarray],
  labels: np.ndarray,
  groups: np.ndarray,
  class_names: Sequence[str],
  train_counts: Sequence[int],
  pair: tuple[str, str],
  level: float = 0.95,
  num_resamples: int = 2000,
  seed: int = 0,
) -> dict[str, Any]:
  """Summarizes what a study's arms score on an external test set.

  Arms and the others as of `summarize`, but for the images of the external
  set; `note`, `notes`, `traced` and `left_out` say what is known of these. The
  difference of the deciding pair gets no verdict: that is of the own test set.

  Returns:
    `external` of the schema.
  """
  weights = statistics.bootstrap_weights(groups, labels, num_resamples, seed)
  draws = {arm: statistics.draw(p, labels, weights) for arm, p in arms.items()}
  paired = draws[pair[0]][HEADLINE_METRIC] - draws[pair[1]][HEADLINE_METRIC]
  (difference,) = _estimates(statistics.interval(paired, level, seed=seed))
  scored = []
  for arm, p in arms.items():
    whole = _score_arm(p, labels, draws[arm], class_names, level, seed)
    kept = {key: whole[key] for key in ("scores", *classification.BY_CLASS)}
    scored.append({"name": arm, **kept})
  counts = np.bincount(labels, minlength=len(class_names))
  most = int(np.argmax(train_counts))
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
      "majority_line": {
        "class": class_names[most],
        "accuracy": classification.majority_line(labels, train_counts),
        # It has the recall 1 of one class, if that is there at all.
        "balanced_accuracy": (counts[most] > 0) / np.sum(counts > 0),
      },
      "arms": scored,
      "difference": {
        "arm": pair[0],
        "rival": pair[1],
        "metric": HEADLINE_METRIC,
        "level": level,
        **difference,
      },
    }
  )


def _score_arm(
  probabilities, labels, draws, class_names, level: float, seed: int
) -> dict[str, Any]:
  """Score one arm's probabilities [S, N, K] by itself, as in the schema."""
  estimates = {}
  for name in draws:
    interval = statistics.interval(draws[name], level, seed)
    estimates[name] = _estimates(interval)
  pooled = np.concatenate(probabilities), np.tile(labels, len(probabilities))
  return {
    "scores": {name: estimates[name][0] for name in classification.SCALARS},
    **{
      name: dict(zip(class_names, estimates[name], strict=True))
      for name in classification.BY_CLASS
    },
    "confusion": classification.confusion(*pooled) / len(probabilities),
    "reliability": classification.reliability(*pooled),
  }


def _compare(
  candidate, rival, draws, classes, num_seeds: int, level: float, seed: int
) -> list[dict[str, Any]]:
  """Compare an arm with a rival: every score, and recall by class.

  `draws` are by arm, then by score; classes get level 1 - (1 - level) / K.
  Returns rows of `differences`, as in the schema.
  """
  pair = {"arm": candidate, "rival": rival}
  rows = []
  for metric in classification.SCALARS:
    paired = draws[candidate][metric] - draws[rival][metric]
    (estimate,) = _estimates(statistics.interval(paired, level, seed))
    ends, kind = (estimate["low"], estimate["high"]), None
    if metric == HEADLINE_METRIC:
      kind = verdict.decide(*ends, testable=num_seeds > 1)
    row = {"metric": metric, "class": None, "level": level, "verdict": kind}
    rows.append(pair | row | estimate)
  strict = 1 - (1 - level) / len(classes)
  paired = draws[candidate]["recall"] - draws[rival]["recall"]
  estimates = _estimates(statistics.interval(paired, strict, seed))
  for item, estimate in zip(classes, estimates, strict=True):
    testable = num_seeds > 1 and item["test_lesions"] >= verdict.MIN_LESIONS
    kind = verdict.decide(estimate["low"], estimate["high"], testable=testable)
    row = {"metric": "recall", "class": item["name"], "level": strict}
    rows.append(pair | row | {"verdict": kind} | estimate)
  return rows


def _estimates(interval: statistics.Interval) -> list[dict[str, float]]:
  """Split an interval, of one value or one a class, into dicts."""
  names = [field.name for field in dataclasses.fields(interval)]
  columns = [np.atleast_1d(getattr(interval, name)) for name in names]
  rows = zip(*columns, strict=True)
  return [dict(zip(names, map(float, row), strict=True)) for row in rows]
