"""What the numbers of an evaluation allow to be said, in which words."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from skinjax.judging import nearness


@dataclasses.dataclass(frozen=True)
class Words:
  """An evaluation in words.

  Attributes:
    headline: one sentence.
    tone: "helps", "hurts" or "cannot", which colours the headline.
    findings: sentences about these images.
    cautions: how the numbers must not be read.
  """

  headline: str
  tone: str
  findings: tuple[str, ...]
  cautions: tuple[str, ...]


def describe(evaluation: Mapping[str, Any]) -> Words:
  """Say in words what an evaluation (see `evaluation_page`) found.

  The first extractor decides the headline; the others only stand beside it.
  """
  kinds = nearness.judge(evaluation)
  first = nearness.by_class(next(iter(kinds.values()), {}))
  collapsed = collapsed_classes(evaluation)
  suspects, searched = copies(evaluation)
  headline, tone = nearness.headline(first)
  if collapsed:
    headline += f"; {_count(len(collapsed), 'class')} collapsed"
  if suspects:
    headline += f"; {_count(suspects, 'suspected copy')}"
  if collapsed or suspects:
    tone = "hurts"
  return Words(
    headline + ".",
    tone,
    (
      *_of_distances(kinds),
      *_of_diversity(evaluation["diversity"], collapsed),
      *_of_copies(evaluation["copies"], suspects, searched),
      *_of_usefulness(evaluation["usefulness"]),
    ),
    tuple(_cautions(evaluation, kinds)),
  )


def collapsed_classes(evaluation: Mapping[str, Any]) -> list[str]:
  """List the classes whose images are nearly alike."""
  return [n for n, row in evaluation["diversity"].items() if row["collapsed"]]


def copies(evaluation: Mapping[str, Any]) -> tuple[int, int]:
  """Count the suspected copies, and the images that were searched."""
  rows = evaluation["copies"]["classes"].values()
  return tuple(sum(r[key] for r in rows) for key in ("suspects", "images"))


def _of_distances(kinds):
  if not kinds:
    yield "No distances were measured."
  # Extractors that agree are named together.
  agreeing: dict = {}
  for extractor, of_classes in kinds.items():
    clauses = []
    for kind, clause in nearness.CLAUSES.items():
      names = [_named(name) for name, k in of_classes.items() if k == kind]
      if names:
        clauses.append(f"{clause}: {', '.join(names)}")
    if clauses:
      agreeing.setdefault("; ".join(clauses), []).append(extractor)
  for clauses, extractors in agreeing.items():
    yield f"By KID in {' and in '.join(extractors)}, {clauses}."
  disputed = [
    _named(name)
    for name in next(iter(kinds.values()), {})
    if len({k[name] for k in kinds.values() if name in k}) > 1
  ]
  if disputed:
    yield (
      f"The extractors disagree on {', '.join(disputed)}: do not rely on any "
      "one of them there."
    )


def _of_diversity(diversity, collapsed):
  if collapsed:
    yield (
      f"Collapsed: {', '.join(collapsed)}. The synthetic images there are "
      "nearly alike, whatever else the numbers say."
    )
  elif diversity:
    yield f"No collapse in the {_count(len(diversity), 'class')} tested."
  else:
    yield "Diversity was not measured."


def _of_copies(found, suspects, searched):
  if not searched:
    yield "Copies of training images were not searched for."
    return
  flagged = found["heldout_flagged"]
  text = (
    f"{_count(suspects, 'suspected copy')} of training images among "
    f"{_count(searched, 'synthetic image')}."
    if suspects
    else f"No suspected copies of training images among "
    f"{_count(searched, 'synthetic image')}; this does not prove that there "
    "are none."
  )
  if flagged is not None:
    text += (
      f" The same threshold flags {flagged:.1%} of held-out real images, "
      "which are no copies"
    )
    expected = flagged * searched
    if suspects:
      text += f": by chance, about {expected:.0f} of as many"
      text += ", which may explain these." if suspects <= expected else "."
    else:
      text += "."
  yield text
  tested = {
    name: row
    for name, row in found["classes"].items()
    if row["p_value"] is not None
  }
  # Bonferroni: of many classes, one is unlikely by chance alone.
  nearer = [
    name
    for name, row in tested.items()
    if row["p_value"] < 0.05 / len(tested) and row["nearer_share"] > 0.5
  ]
  if nearer:
    yield (
      f"Drawn to the training images in {', '.join(nearer)}: more of the "
      "synthetic images there lie nearer to them than to as many held-out "
      "ones than chance explains. A small distance may then come from "
      "copying."
    )
  elif tested:
    yield (
      "In no class do synthetic images lie nearer to training images than to "
      "as many held-out ones more often than chance explains."
    )


def _of_usefulness(found):
  if found is None:
    yield "Whether the images are useful to a classifier was not measured."
    return
  shares = {
    name: row["value"]
    for name, row in found["agreement"].items()
    if row["value"] is not None
  }
  if shares:
    worst = min(shares, key=shares.get)
    yield (
      "A classifier of real images names the class that was asked for in "
      f"{shares[worst]:.0%} ({worst}) to {max(shares.values()):.0%} of the "
      "synthetic images of a class."
    )
  if found["cas"] is None:
    return
  cas = found["cas"]
  synthetic, real = (
    cas["balanced_accuracy"][key] for key in ("synthetic", "real")
  )
  ends = [*synthetic.values(), *real.values()]
  if None in ends:
    return
  overlap = (
    synthetic["low"] <= real["high"] and real["low"] <= synthetic["high"]
  )
  yield (
    "Trained on synthetic images only, a classifier has a balanced accuracy "
    f"of {_interval(synthetic)} on held-out real images; trained on as many "
    f"real ones, {_interval(real)}; always answering one class, "
    f"{cas['majority']:.2f}. The two intervals "
    + ("overlap." if overlap else "do not overlap.")
  )
  if synthetic["low"] <= cas["majority"] <= synthetic["high"]:
    yield "The former is not told apart from answering one class always."


def _cautions(evaluation, kinds):
  if evaluation["drawn"]:
    yield "The real images are drawn pictures: nothing here is about skin."
  yield (
    "“Not told apart” is not “as good as”: with few images, intervals are "
    "wide and reach the floor more easily."
  )
  counts = [
    min(row["num_real"], row["num_fake"])
    for row in evaluation["distances"]
    if row["comparison"] == "synthetic" and not row.get("refused")
  ]
  if counts:
    yield (
      "Fréchet distances are biased upwards by few images (here "
      f"{' to '.join(f'{n:,}' for n in sorted({min(counts), max(counts)}))}; "
      "about 100 is far too few). KID has no such bias: for small classes, it "
      "is the one to read."
    )
  if kinds:
    yield (
      "Numbers of different extractors cannot be compared, neither between "
      "the panels of this page nor with published ones of another network."
      if len(kinds) > 1
      else "Numbers of different extractors cannot be compared: these are of "
      f"{next(iter(kinds))} alone, and no published FID or KID of another "
      "network is."
    )


def _interval(estimate):
  return "{value:.2f} ({low:.2f} to {high:.2f})".format(**estimate)


def _named(name):
  return "all classes together" if name is None else name


def _count(number, noun):
  plural = {"class": "classes", "suspected copy": "suspected copies"}
  word = noun if number == 1 else plural.get(noun, noun + "s")
  return f"{number:,} {word}"
