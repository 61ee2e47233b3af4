"""How balanced accuracy grows with the real images, to tell gains in these."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.study import scoring

LEAST_FRACTION = 0.25  # of the images, that a doubling is told from
_FURTHEST = 10.0  # times as many images, or as few, that the curve tells of


def read(
  rows: Sequence[Mapping[str, Any]],
  arms: Mapping[str, Mapping[str, Any]],
  folds: Sequence[scoring.FoldDone],
  verdict_network: str,
) -> dict[str, Any] | None:
  """Read how balanced accuracy grows with the real images, by one network.

  The verdict's, if it has such arms.
  """
  parts = {n: a for n, a in arms.items() if a.get("fraction", 1.0) < 1}
  if not parts:
    return None
  same = next(iter(parts.values()))
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


def more_images(curve: Mapping[str, Any] | None, value: float) -> float | None:
  """Compute how many real images more would have brought a difference.

  As a part of those that there are; a loss is as if so many had been missing.
  None where the curve does not rise, or would have to be followed too far.
  """
  if not curve or not curve["per_doubling"] or curve["per_doubling"] <= 0:
    return None
  doublings = value / curve["per_doubling"]
  if abs(doublings) > math.log2(_FURTHEST):
    return None
  return 2.0**doublings - 1
