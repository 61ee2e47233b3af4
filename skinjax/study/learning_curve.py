"""The learning curve, which expresses gains as numbers of real images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.metrics import statistics
from skinjax.study import scoring

# Of the images; the slope is fitted from here on. Curves flatten, so gains are
# compared with its end.
LEAST_FRACTION = 0.5
_FURTHEST = 10.0  # largest factor by which the curve is extrapolated
# By network and arm, then by metric: from Scorer.draws.
AllDraws = Mapping[tuple[str, str], Mapping[str, statistics.Draws]]


def read(
  rows: Sequence[Mapping[str, Any]],
  draws: AllDraws,
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
  whole = scoring.unaided(arms, same["changes"])
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
      "arm": n,
      "fraction": arms[n]["fraction"],
      "images": round(images * arms[n]["fraction"]),
      **found[network, n]["scores"][scoring.HEADLINE_METRIC],
    }
    for n in (*parts, whole[0])
    if (network, n) in found
  ]
  points.sort(key=lambda point: point["fraction"])
  curve = {"network": network, "points": points}
  slope = _slope(curve, draws)
  return curve | {
    "per_doubling": None if slope is None else float(slope.value[0])
  }


def _slope(curve, draws: AllDraws) -> statistics.Draws | None:
  """Fit a line to balanced accuracy over doublings of the images."""
  late = [p for p in curve["points"] if p["fraction"] >= LEAST_FRACTION]
  if len(late) < 2:
    return None
  x = np.log2([point["fraction"] for point in late])
  x -= x.mean()
  scores = [
    draws[curve["network"], point["arm"]][scoring.HEADLINE_METRIC]
    for point in late
  ]
  return statistics.weighted_sum(scores, x / np.sum(x**2))  # least squares


def rising_slope(
  curve: Mapping[str, Any] | None,
  network: str,
  draws: AllDraws,
  level: float,
  seed: int,
) -> statistics.Draws | None:
  """Return the slope of a network's curve, for `more_images`.

  None if the curve is another network's, or if it is not certain, at this
  level, that it rises.
  """
  if not curve or curve["network"] != network:
    return None
  slope = _slope(curve, draws)
  if slope is None or statistics.interval(slope, level, seed).low <= 0:
    return None
  return slope


def more_images(
  difference: statistics.Draws,
  slope: statistics.Draws | None,
  level: float,
  seed: int,
) -> dict[str, float | None]:
  """Compute how many more real images would have the effect of a difference.

  The difference is divided by the curve's slope in each resample, so that the
  interval includes the slope's error.

  Returns:
    value, low and high: fractions of the existing images, negative for a loss;
    None without a slope, or if the curve would have to be extrapolated too far.
  """
  names = ("value", "low", "high")
  if slope is None:
    return dict.fromkeys(names)
  doublings = statistics.interval(difference / slope, level, seed)
  return {name: _more(float(getattr(doublings, name))) for name in names}


def _more(doublings: float) -> float | None:
  if abs(doublings) > math.log2(_FURTHEST):
    return None
  return 2.0**doublings - 1
