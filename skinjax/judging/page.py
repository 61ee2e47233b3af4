"""Renders the evaluation of a set of synthetic images as one HTML file.

An evaluation is plain JSON:

```
{
  schema: 2, name, data, drawn: bool, leak_excluded: bool, command,
  pretrained: [networks that the images' generator was trained through],
  seen: [extractors that use such a network],
  subject: the evaluated images, in words (a folder, or a generator),
  classes: [{name, train_images, heldout_images, synthetic_images}],
  collapse: the ratio below which a class has collapsed,
  diversity: {class: {real, generated, ratio, collapsed: bool}},
  distances: [{extractor, frechet_name, class: str|null (all classes),
               comparison: "synthetic"|"floor"|"ceiling",
               against: str|null (the ceiling's class, the nearest other one),
               num_real: int, num_fake: int,
               refused: str                   # then none of the following
               frechet, curve: {counts, values, limit, spread},
               kernel: ESTIMATE, prdc: {precision, recall, density, coverage}}],
  usefulness: null|{classifier: str,
                    pretrained: [networks that its classifiers start from],
                    chosen_by_it: bool, whether it selected the images,
                    agreement: {class: ESTIMATE and images},
                    cas: null|{classes: {class: PAIR},
                               balanced_accuracy: PAIR,
                               majority: balanced accuracy of always
                                 predicting one class,
                               images: {class: training images, each kind}}},
  copies: {orientations: 1|8, in which images are compared,
           classes: {class: {images, suspects, heldout_images,
                             heldout_suspects, nearer_share, nearer_low,
                             nearer_high, p_value, authenticity}},
           suspects: [{synthetic, training, transform,
                       kind: "pixels"|"features", distance, threshold}]},
  notes: [str], next_steps: [str]
}
ESTIMATE = {value, low, high}; PAIR = {synthetic: ESTIMATE, real: ESTIMATE}
```

A number that does not exist is null. All `distances` are to the training images
of a class. The first extractor, which is not in `seen`, decides the headline.
In `copies`, `nearer_share` is the share of synthetic images whose nearest real
image is a training image, at equal numbers of training and held-out images; one
half is expected if the images are independent of the training set.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from skinjax.judging import findings, plots
from skinjax.report import rendering, sheets
from skinjax.runtime import files

_COLUMNS = 4
# Rows in the table of suspects; the evaluation lists all of them.
_MOST_SUSPECTS = 50


@dataclasses.dataclass(frozen=True)
class Pair:
  """A synthetic image and the real ones nearest to it, [H, W, C] uint8."""

  synthetic: np.ndarray
  training: np.ndarray
  held_out: np.ndarray
  caption: str  # names, distance and transform
  suspect: bool  # whether it is a suspected copy


@dataclasses.dataclass(frozen=True)
class Pictures:
  """The images on a page: by class, uint8 [n, H, W, C]; any may be absent."""

  real: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  synthetic: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  pairs: Sequence[Pair] = ()  # suspected copies, or else the nearest
  interpolations: Mapping[str, np.ndarray] = dataclasses.field(
    default_factory=dict
  )
  embedding: Figure | None = None  # see plots.embedding


def write(
  path: str | os.PathLike, evaluation: Mapping[str, Any], pictures: Pictures
) -> None:
  """Write the page of an evaluation; see `render`."""
  files.write_text(path, render(evaluation, pictures))


def render(evaluation: Mapping[str, Any], pictures: Pictures) -> str:
  """Render an evaluation (see the module) as a self-contained HTML page.

  Images and styles are embedded; the page loads nothing and runs no script.
  The same arguments give the same page.
  """
  rows = evaluation["distances"]
  by_extractor = {}
  for row in rows:
    by_extractor.setdefault(row["extractor"], []).append(row)
  images = {"Real": pictures.real, "Synthetic": pictures.synthetic}
  return (
    rendering.environment()
    .get_template("evaluation.html")
    .render(
      evaluation=evaluation,
      drawn=evaluation["drawn"],
      found=findings.describe(evaluation),
      tones=findings.TONES,
      collapse=evaluation["collapse"],
      most_suspects=_MOST_SUSPECTS,
      tables=by_extractor,
      kernels=rendering.svg_uri(plots.kernels(rows)) if rows else None,
      shares=rendering.svg_uri(plots.shares(rows)) if rows else None,
      curves={
        extractor: rendering.svg_uri(plots.frechet_curves(of_extractor))
        for extractor, of_extractor in by_extractor.items()
      },
      sheets={
        name: {
          title: _grid(of_class.get(name, ()), _COLUMNS)
          for title, of_class in images.items()
        }
        for name in (row["name"] for row in evaluation["classes"])
        if any(len(of_class.get(name, ())) for of_class in images.values())
      },
      pairs=[
        {
          "pair": pair,
          "images": {
            "synthetic": _png(pair.synthetic),
            "nearest training": _png(pair.training),
            "nearest held-out": _png(pair.held_out),
          },
        }
        for pair in pictures.pairs
      ],
      strips={
        name: _grid(strip, len(strip))
        for name, strip in pictures.interpolations.items()
      },
      embedding=pictures.embedding and rendering.svg_uri(pictures.embedding),
    )
  )


def _png(image):
  return rendering.png_uri(sheets.grid(image[None], 1))


def _grid(images, columns):
  """Embed images, which the page's style enlarges; None if there are none."""
  if len(images):
    return rendering.jpeg_uri(sheets.grid(images, columns))
  return None
