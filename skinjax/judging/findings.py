"""Describes in words what the numbers of an evaluation show."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import stats

# Conclusions from the kernel distance (KID) of a class's synthetic images.
NEAR = "not distinguishable from held-out real images"
UNCLEAR = "undecided"
FAR = "farther than held-out real images"
BEYOND = "farther than real images of another class"
NOT_MEASURED = "too few images"
KINDS = (NEAR, UNCLEAR, FAR, BEYOND, NOT_MEASURED)
# Classes of the page's style; see style.css.
TONES = {NEAR: "helps", FAR: "hurts", BEYOND: "hurts"}


@dataclasses.dataclass(frozen=True)
class Findings:
  """An evaluation in words."""

  headline: str
  tone: str  # "helps", "hurts" or "cannot", which colours the headline
  sentences: tuple[str, ...]
  cautions: tuple[str, ...]  # how the numbers must not be read
  nearness: Mapping[str, Mapping[str | None, str]]  # see `judge`


def describe(evaluation: Mapping[str, Any]) -> Findings:
  """Describe in words what an evaluation (see judging/page.py) found.

  The first extractor alone decides the headline. The generator of the images
  was not trained through it.
  """
  nearness = judge(evaluation["distances"])
  first = next(iter(nearness.values()), {})
  kinds = [kind for name, kind in first.items() if name is not None]
  near = kinds.count(NEAR)
  farther = kinds.count(FAR) + kinds.count(BEYOND)
  diversity = evaluation["diversity"]
  collapsed = [name for name, row in diversity.items() if row["collapsed"]]
  rows = evaluation["copies"]["classes"].values()
  suspects, searched = (
    sum(row[key] for row in rows) for key in ("suspects", "images")
  )
  chance = _by_chance(rows)
  copied = suspects > (chance[-1] if chance else 0)
  if near or farther:
    numbers = {
      "farther from the training images than held-out real images": farther,
      NEAR: near,
      UNCLEAR: len(kinds) - farther - near,
    }
    clauses = [f"{words} in {n}" for words, n in numbers.items() if n]
    clauses[0] += f" of {_count(len(kinds), 'class')}"
    headline = f"Synthetic images are {'; '.join(clauses)}"
  else:
    headline = "Too little data to tell how near these images are to real ones"
  if not evaluation.get("leak_excluded", True):
    headline = f"A leak cannot be excluded. {headline}"
  if collapsed:
    headline += f"; {_count(len(collapsed), 'collapsed class')}"
  if suspects:
    headline += f"; {_count(suspects, 'suspected copy')}"
    if chance:
      headline += f" ({chance[0]} expected by chance)"
  if collapsed or copied or (farther and not near):
    tone = "hurts"
  else:
    tone = "helps" if near and near == len(kinds) else "cannot"
  return Findings(
    headline=headline + ".",
    tone=tone,
    sentences=(
      *_of_distances(nearness),
      *_of_diversity(diversity, collapsed),
      *_of_copies(evaluation["copies"], suspects, searched, chance),
      *_of_training((evaluation["usefulness"] or {}).get("cas")),
    ),
    cautions=tuple(_cautions(evaluation)),
    nearness=nearness,
  )


def judge(distances: list[Mapping[str, Any]]) -> dict[str, dict]:
  """Evaluate each class by its kernel distance, its floor and its ceiling.

  `FAR` requires that the whole interval is above the floor's interval, `BEYOND`
  that it is above another class's value, too. `NEAR` requires that it reaches
  the floor's value and not the other class's.

  Returns:
    One of KINDS by extractor and class (None: all of them).
  """
  kernels: dict = {}
  for row in distances:
    of_extractor = kernels.setdefault(row["extractor"], {})
    of_class = of_extractor.setdefault(row["class"], {})
    if not row.get("refused") and row["kernel"]["low"] is not None:
      of_class[row["comparison"]] = row["kernel"]
  return {
    extractor: {
      name: _nearness(*map(found.get, ("synthetic", "floor", "ceiling")))
      for name, found in of_extractor.items()
    }
    for extractor, of_extractor in kernels.items()
  }


def kernel_distances(
  evaluation: Mapping[str, Any],
) -> tuple[str, dict[tuple[str | None, str], float]]:
  """Return the first extractor, and the kernel distances in its features.

  By class (None: all of them) and comparison: `synthetic`, `floor` (held-out
  real images) or `ceiling` (those of another class).
  """
  rows = evaluation["distances"]
  extractor = rows[0]["extractor"]
  return extractor, {
    (row["class"], row["comparison"]): row["kernel"]["value"]
    for row in rows
    if row["extractor"] == extractor and "kernel" in row
  }


def _nearness(synthetic, floor, ceiling):
  if synthetic is None:
    return NOT_MEASURED
  if floor is None:
    return UNCLEAR
  if synthetic["low"] > floor["high"]:
    beyond = ceiling and synthetic["low"] > ceiling["value"]
    return BEYOND if beyond else FAR
  if ceiling and synthetic["high"] >= ceiling["value"]:
    return UNCLEAR
  return NEAR if synthetic["low"] <= floor["value"] else UNCLEAR


def _of_distances(nearness) -> Iterator[str]:
  for extractor, kinds in nearness.items():
    names = {
      kind: [
        name or "all classes together" for name in kinds if kinds[name] == kind
      ]
      for kind in KINDS
    }
    clauses = (f"{kind}: {', '.join(n)}" for kind, n in names.items() if n)
    yield f"By KID in {extractor}, {'; '.join(clauses)}."


def _of_diversity(diversity, collapsed) -> Iterator[str]:
  if collapsed:
    yield (
      f"Collapsed: {', '.join(collapsed)}. The synthetic images of these "
      "classes are much less diverse than real ones, whatever the other "
      "numbers show."
    )
  elif diversity:
    yield f"None of {_count(len(diversity), 'class')} collapsed."


def _by_chance(rows) -> list[int] | None:
  """Count the suspects expected among as many held-out real images per class.

  Returns:
    The number and its 95% interval, both standardized to the classes of the
    synthetic images (Dobson, Kuulasmaa, Eberle, Scherer, "Confidence Intervals
    for Weighted Sums of Poisson Parameters", 1991); None if a class has no
    held-out images.
  """
  images, real, suspects = (
    np.array([row[key] for row in rows], float)
    for key in ("images", "heldout_images", "heldout_suspects")
  )
  if not real.size or not real.all():
    return None
  expected, count = np.sum(images * suspects / real), suspects.sum()
  scale = images.sum() / real.sum()
  if count:
    scale = np.sqrt(np.sum((images / real) ** 2 * suspects) / count)
  # Exact limits of a Poisson mean; the lower one of no events is NaN.
  low, high = stats.chi2.ppf((0.025, 0.975), (2 * count, 2 * count + 2)) / 2
  ends = (expected + scale * (x - count) for x in (np.nan_to_num(low), high))
  return [round(x) for x in (expected, *ends)]


def _of_copies(found, suspects, searched, chance) -> Iterator[str]:
  if not searched:
    yield "Copies of training images were not searched for."
    return
  text = (
    f"{_count(suspects, 'suspected copy')} of training images among "
    f"{_count(searched, 'synthetic image')}"
  )
  if chance:
    text += (
      "; of as many held-out real images of each class, which are no copies, "
      "about {} ({} to {}) would be suspected".format(*chance)
    )
  yield text + "."
  tested = {
    name: row
    for name, row in found["classes"].items()
    if row["p_value"] is not None
  }
  # Bonferroni: among many classes, one may have a small p-value by chance.
  nearer = [
    name
    for name, row in tested.items()
    if row["p_value"] < 0.05 / len(tested) and row["nearer_share"] > 0.5
  ]
  if nearer:
    yield (
      f"Nearer to training images than expected: {', '.join(nearer)}. These "
      "synthetic images depend on the training images (p < 0.05, Bonferroni): "
      "the generator overfits or copies, and the test does not tell which."
    )


def _of_training(cas) -> Iterator[str]:
  if not cas:
    return
  shown = {
    kind: "{value:.2f} ({low:.2f} to {high:.2f})".format(**estimate)
    for kind, estimate in cas["balanced_accuracy"].items()
  }
  yield (
    "A classifier trained on synthetic images alone has a balanced accuracy of "
    f"{shown['synthetic']} on held-out real images; trained on the same number "
    f"of real images, {shown['real']}; always predicting one class, "
    f"{cas['majority']:.2f}. One training each: intervals cover test lesions "
    "only."
  )


def _cautions(evaluation) -> Iterator[str]:
  if evaluation["drawn"]:
    yield "The real images are drawn pictures: nothing here is about skin."
  yield from _of_knowledge(evaluation)
  if evaluation["distances"]:
    yield (
      "“Farther” requires that the 95% interval is above that of held-out real "
      "images; it is not adjusted for the number of classes and extractors. "
      "An interval that reaches the floor does not show that the images are as "
      "good as real ones: with few images, intervals are wide. Intervals of "
      "small distances contain the true one in less than 95% of cases; mostly, "
      "they are too low."
    )
    yield (
      "With few images, Fréchet distances are biased upwards. KID has no such "
      "bias: use it for small classes."
    )
    yield (
      "Distances in other features, in another panel of this page or in a "
      "paper, cannot be compared with these."
    )


def _of_knowledge(evaluation) -> Iterator[str]:
  """Warn about evaluators that are not independent of the generator."""
  useful = evaluation["usefulness"] or {}
  if useful.get("chosen_by_it"):
    yield (
      "The images were selected by agreement with the classifier that is used "
      "here: its agreement says nothing about them."
    )
  through = evaluation.get("pretrained", [])
  if not through:
    return
  maker = f"The generator was trained through {', '.join(through)}"
  if seen := evaluation["seen"]:
    others = [
      row["extractor"]
      for row in evaluation["distances"]
      if row["extractor"] not in seen
    ]
    text = f"{maker}: numbers in features of {', '.join(seen)} flatter it."
    yield f"{text} Use those of {others[0]}." if others else text
  if shared := {*through}.intersection(useful.get("pretrained", ())):
    yield (
      f"{maker}, and a classifier here starts from the weights of "
      f"{', '.join(sorted(shared))}: its agreement, and its scores after "
      "training on the images, are not independent evaluations. Use one that "
      "was trained from scratch."
    )


def _count(number, noun):
  plural = {"y": noun[:-1] + "ies", "s": noun + "es"}.get(noun[-1], noun + "s")
  return f"{number:,} {noun if number == 1 else plural}"
