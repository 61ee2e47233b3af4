"""The learning curve, which expresses gains as numbers of real images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.study import scoring

LEAST_FRACTION = 0.25  # of the images; the slope is fitted from here on
_FURTHEST = 10.0  # largest factor by which the curve is extrapolated


def read(
  rows: Sequence[Mapping[str, Any]],
  arms: Mapping[str, Mapping[str, Any]],
  folds: Sequence[scoring.FoldDone],
  verdict_network: str,
) -> dict[str, Any] | None:
  """Compute how balanced accuracy of one network grows with the real images.

  It is the verdict's network, if that has such arms.
  """
  parts = {n: a for n, a in arms.items() if a.get("fraction", 1.0) < 1}
  if not parts:
    return None
  # Arms that differ in more than the fraction are no points of the curve.
  same = next(iter(parts.values()))
  parts = {n: a for n, a in parts.items() if a["changes"] == same["changes"]}
  whole = [
    n
    for n, a in arms.items()
    if a["fraction"] == 1 and not a["added"] and a["changes"] == same["changes"]
  ]
  found = {(row["network"], row["name"]): row for row in rows}
  having = [n for n, arm in found if arm in parts]
  network = next(iter(having), None)
  if verdict_network in having:
    network = verdict_network
  if network is None or not whole or (network, whole[0]) not in found:
    return None
  images = np.mean([np.sum(f.train_counts) for f in folds])
  points = [
    {
      "fraction": arms[n]["fraction"],
      "images": round(images * arms[n]["fraction"]),
      **found[network, n]["scores"][scoring.HEADLINE_METRIC],
    }
    for n in (*parts, whole[0])
    if (network, n) in found
  ]
  points.sort(key=lambda point: point["fraction"])
  late = [p for p in points if p["fraction"] >= LEAST_FRACTION]
  slope = None
  if len(late) > 1:
    doublings = np.log2([p["fraction"] for p in late])
    slope = float(np.polyfit(doublings, [p["value"] for p in late], 1)[0])
  return {"network": network, "per_doubling": slope, "points": points}


def more_images(
  curve: Mapping[str, Any] | None, network: str, value: float
) -> float | None:
  """Compute how many more real images would have the effect of a difference.

  The result is a fraction of the existing images, negative for a loss. It is
  None if the curve is another network's, does not rise, or would have to be
  extrapolated too far. The curve's own error is not included.
  """
  if not curve or curve["network"] != network or not curve["per_doubling"]:
    return None
  if curve["per_doubling"] <= 0:
    return None
  doublings = value / curve["per_doubling"]
  if abs(doublings) > math.log2(_FURTHEST):
    return None
  return 2.0**doublings - 1
