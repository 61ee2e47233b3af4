"""Whether a class's images are as near to real ones as other real ones are."""

from collections.abc import Mapping
from typing import Any

# Of the kernel distance (KID) of a class's synthetic images, by `judge`.
NEAR = "as near as held-out real images"
UNCLEAR = "unclear"
FAR = "farther than held-out real images"
BEYOND = "farther than real images of another class"
CANNOT_TELL = "cannot tell"
NOT_MEASURED = "too few images"

# In a list of classes.
CLAUSES = {
  NEAR: "not told apart from held-out real images (the interval reaches the "
  "floor)",
  UNCLEAR: "between the two (the interval lies above the floor but overlaps "
  "the floor's own)",
  FAR: "farther from the training images than held-out real images are",
  BEYOND: "farther than even real images of another class",
  CANNOT_TELL: "nothing can be told (the interval reaches from the floor to "
  "another class, or one of the two is missing)",
  NOT_MEASURED: "too few images to measure",
}
# Of the page's style: see style.css.
TONES = {NEAR: "helps", FAR: "hurts", BEYOND: "hurts"}


def judge(
  evaluation: Mapping[str, Any],
) -> dict[str, dict[str | None, str]]:
  """Judge each class by its kernel distance, its floor and its ceilings.

  `FAR` and `BEYOND` ask for the whole interval to lie above the floor's
  interval or another class's value; `NEAR` asks it to reach the floor's value
  and no other class's.

  Returns:
    Extractor to class to one of this module's constants. The class None is
    that of all classes together.
  """
  kernels: dict = {}
  for row in evaluation["distances"]:
    of_class = kernels.setdefault(row["extractor"], {}).setdefault(
      row["class"], {}
    )
    usable = not row.get("refused") and row["kernel"]["low"] is not None
    of_class.setdefault(row["comparison"], []).extend(
      [row["kernel"]] if usable else []
    )
  return {
    extractor: {
      name: _nearness(found)
      for name, found in of_extractor.items()
      if "synthetic" in found
    }
    for extractor, of_extractor in kernels.items()
  }


def by_class(
  kinds: Mapping[str | None, str],
) -> Mapping[str | None, str]:
  """Leave out all classes together, unless there is nothing else."""
  return {k: v for k, v in kinds.items() if k is not None} or kinds


def headline(kinds: Mapping[str | None, str]) -> tuple[str, str]:
  """Say in how many classes images are near, without a full stop.

  Args:
    kinds: class to one of this module's constants.

  Returns:
    The sentence and its tone: "helps" if all are near, "hurts" if none is and
    some are farther, "cannot" in all other cases.
  """
  near = [name for name, kind in kinds.items() if kind == NEAR]
  farther = [name for name, kind in kinds.items() if kind in (FAR, BEYOND)]
  goal = "as near to real ones as held-out real images are"
  if not near and not farther and UNCLEAR in kinds.values():
    return f"It is unclear whether the synthetic images are {goal}", "cannot"
  if not near and not farther:
    return "Too little to tell how near to real ones these images are", "cannot"
  some = "cannot" if near else "hurts"
  tone = "helps" if len(near) == len(kinds) else some
  if len(kinds) > 1 and not near:
    return f"In none of {len(kinds)} classes are synthetic images {goal}", tone
  if len(kinds) > 1:
    some = f"{len(near)} of {len(kinds)}"
    number = f"all {len(kinds)}" if tone == "helps" else some
    return f"In {number} classes, synthetic images are {goal}", tone
  (name,) = kinds
  where = "All classes together," if name is None else f"In {name},"
  no = "" if near else "not "
  return f"{where} synthetic images are {no}{goal}", tone


def _nearness(found):
  synthetic = next(iter(found["synthetic"]), None)
  floor = next(iter(found.get("floor", ())), None)
  ceiling = min((k["value"] for k in found.get("ceiling", ())), default=None)
  if synthetic is None:
    return NOT_MEASURED
  if ceiling is not None and synthetic["low"] > ceiling:
    return BEYOND
  if floor is None:
    return CANNOT_TELL
  if synthetic["low"] > floor["high"]:
    return FAR
  if ceiling is not None and synthetic["high"] >= ceiling:
    return CANNOT_TELL
  return NEAR if synthetic["low"] <= floor["value"] else UNCLEAR
