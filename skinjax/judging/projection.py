"""Features of images as points of a plane."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from skinjax.metrics import checks
from skinjax.report.figures import COLORS, FAINT, WIDTH, legend, panel, wrapped

# Points drawn of each set: more would only cover each other.
_MOST_POINTS = 1500


@dataclasses.dataclass(frozen=True)
class Projection:
  """Points of two sets, in the plane in which the real ones vary most.

  Attributes:
    real: [n, 2] floats, of mean zero.
    synthetic: [m, 2] floats.
    explained: shares of the real images' variance along the two axes.
  """

  real: np.ndarray
  synthetic: np.ndarray
  explained: tuple[float, float]


def project(real: np.ndarray, synthetic: np.ndarray) -> Projection:
  """Project features on the first two principal components of real ones.

  The plane is that of the real images alone: synthetic ones, however odd,
  cannot turn it towards themselves.

  Args:
    real: [n, d] floats, n >= 2.
    synthetic: [m, d] floats, m >= 2.

  Raises:
    ValueError: see `checks.feature_pair`.
  """
  real, synthetic = checks.feature_pair(real, synthetic)
  mean = real.mean(0)
  # Of R^T R = X^T X, R has d rows at most: cheaper where images are many.
  rows = np.linalg.qr(real - mean, mode="r")
  _, values, axes = np.linalg.svd(rows, full_matrices=False)
  # A single feature has but one axis.
  values, axes = (
    np.concatenate([x, np.zeros((2, *x.shape[1:]))])[:2] if len(x) < 2 else x
    for x in (values, axes)
  )
  axes = axes[:2]
  # The sign of an axis is free: its largest part is made positive.
  largest = axes[[0, 1], np.abs(axes).argmax(1)]
  axes = axes * np.where(largest < 0, -1, 1)[:, None]
  variances = values**2
  shares = variances[:2] / max(variances.sum(), np.finfo(float).tiny)
  return Projection(
    (real - mean) @ axes.T, (synthetic - mean) @ axes.T, tuple(shares.tolist())
  )


def draw(
  points: Projection,
  real_labels: np.ndarray,
  synthetic_labels: np.ndarray,
  classes: Sequence[str],
) -> Figure:
  """Draw the map of images: a panel a class, all real images in grey behind.

  Args:
    points: of the images.
    real_labels: [n] integers.
    synthetic_labels: [m] integers.
    classes: names, by label.
  """
  labels = sorted({*real_labels, *synthetic_labels})
  columns = min(4, len(labels))
  lines = -(-len(labels) // columns)
  figure = Figure(figsize=(WIDTH, 0.7 + 1.75 * lines), dpi=144)
  axes = figure.subplots(
    lines, columns, sharex=True, sharey=True, squeeze=False
  ).ravel()
  for axis in axes[len(labels) :]:
    axis.set_axis_off()
  for axis, label in zip(axes, labels, strict=False):
    panel(axis, wrapped(classes[label], 80 // columns))
    axis.set_xticks([])
    axis.set_yticks([])
    real = points.real[np.asarray(real_labels) == label]
    fake = points.synthetic[np.asarray(synthetic_labels) == label]
    for of_kind, marker, color, size in (
      (points.real, ".", FAINT, 2),
      (real, "s", COLORS[0], 2.5),
      (fake, "o", COLORS[1], 2.5),
    ):
      # As pixels: thousands of marks would make a large page.
      step = -(-len(of_kind) // _MOST_POINTS) or 1
      axis.plot(
        *of_kind[::step].T,
        marker,
        color=color,
        markersize=size,
        markeredgewidth=0,
        alpha=0.75,
        rasterized=True,
      )
  first, second = points.explained
  figure.supxlabel(f"first axis ({first:.0%} of the variance)", fontsize=9)
  figure.supylabel(f"second axis ({second:.0%})", fontsize=9)
  figure.tight_layout()
  handles = [
    axes[0].plot([], [], marker, color=color, markersize=5)[0]
    for marker, color in ((".", FAINT), ("s", COLORS[0]), ("o", COLORS[1]))
  ]
  legend(
    figure,
    handles,
    ["all real images", "real images of the class", "synthetic ones of it"],
  )
  return figure
