"""The page that judges a set of synthetic images: one HTML file.

It is made from an evaluation, which is plain JSON:

```
{
  schema: 1, name, data, drawn: bool, command,
  subject: what was judged, in words (a folder, or a generator),
  classes: [{name, train_images, heldout_images, synthetic_images}],
  diversity: {class: {real, generated, ratio, collapsed: bool}},
  distances: [{extractor, frechet_name, class: str|null (all classes),
               comparison: "synthetic"|"floor"|"ceiling",
               against: str|null (the ceiling's other class),
               num_real: int, num_fake: int,
               refused: str                   # then none of the following
               frechet, curve: {counts, values, limit, spread},
               kernel: ESTIMATE, prdc: {precision, recall, density, coverage}}],
  usefulness: null|{classifier: str,
                    agreement: {class: ESTIMATE and images},
                    cas: null|{classes: {class: PAIR},
                               balanced_accuracy: PAIR,
                               majority: balanced accuracy of one answer,
                               images: {class: trained on, of either}}},
  copies: {classes: {class: {images, suspects, nearer_share, nearer_low,
                             nearer_high, p_value, authenticity}},
           heldout_flagged: share|null,
           suspects: [{synthetic, training, transform,
                       kind: "pixels"|"features", distance, threshold}]},
  notes: [str], next_steps: [str]
}
ESTIMATE = {value, low, high}; PAIR = {synthetic: ESTIMATE, real: ESTIMATE}
```

A number that does not exist is null. All of `distances` are from a class's
training images: the floor is that of held-out real images of the class, a
ceiling that of another class's. The first extractor decides the headline.
Of `copies`, `nearer_share` is that of the synthetic images nearer to a
training image than to any of as many held-out ones: a half is expected of
images that copy nothing. Without a search, `copies.classes` is empty.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.judging import nearness, plots, projection, words
from skinjax.report import rendering, sheets
from skinjax.runtime import files

_COLUMNS = 4
# Rows of the table of suspects: all of them are in the evaluation.
_MOST_SUSPECTS = 50


@dataclasses.dataclass(frozen=True)
class Pair:
  """A synthetic image and the real ones nearest to it, [H, W, C] uint8.

  Attributes:
    synthetic: the image.
    training: the nearest training image.
    heldout: the nearest held-out image, if known.
    caption: names, distance and transform, in words.
    suspect: whether it is a suspected copy.
  """

  synthetic: np.ndarray
  training: np.ndarray
  heldout: np.ndarray | None = None
  caption: str = ""
  suspect: bool = False


@dataclasses.dataclass(frozen=True)
class Embedding:
  """Images as points of a plane.

  Attributes:
    points: of real and of synthetic images.
    real_labels: [n] integers, places in the evaluation's `classes`.
    synthetic_labels: [m] integers.
    extractor: whose features these are.
  """

  points: projection.Projection
  real_labels: np.ndarray
  synthetic_labels: np.ndarray
  extractor: str


@dataclasses.dataclass(frozen=True)
class Pictures:
  """What an evaluation shows; all of it may be missing.

  Attributes:
    real: class to [n, H, W, C] uint8 real images.
    synthetic: class to synthetic ones.
    pairs: suspected copies, or else the pairs that are nearest.
    interpolations: class to images along a line between two latents.
    embedding: a map of images.
  """

  real: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  synthetic: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  pairs: Sequence[Pair] = ()
  interpolations: Mapping[str, np.ndarray] | None = None
  embedding: Embedding | None = None


def write(
  path: str | os.PathLike, evaluation: Mapping[str, Any], pictures: Pictures
) -> None:
  """Write the page of an evaluation; see `render`."""
  files.write_text(path, render(evaluation, pictures))


def render(evaluation: Mapping[str, Any], pictures: Pictures) -> str:
  """Render an evaluation as a self-contained HTML page.

  Images and styles are embedded; the page loads nothing and runs no script.
  The same arguments give the same page.

  Args:
    evaluation: see the module's docstring.
    pictures: what is shown beside the numbers.

  Returns:
    The text of the page.
  """
  kinds = nearness.judge(evaluation)
  rows = evaluation["distances"]
  by_extractor = {
    extractor: [row for row in rows if row["extractor"] == extractor]
    for extractor in kinds
  }
  suspects, searched = words.copies(evaluation)
  names = [c["name"] for c in evaluation["classes"]]
  return (
    rendering.environment()
    .get_template("evaluation.html")
    .render(
      evaluation=evaluation,
      drawn=evaluation["drawn"],
      words=words.describe(evaluation),
      first=nearness.by_class(next(iter(kinds.values()), {})),
      kinds=kinds,
      near=nearness.NEAR,
      tones=nearness.TONES,
      collapsed=words.collapsed_classes(evaluation),
      suspects=suspects,
      searched=searched,
      most_suspects=_MOST_SUSPECTS,
      tables=by_extractor,
      kernels=_figure(plots.kernels, rows),
      shares=_figure(plots.shares, rows),
      curves={
        extractor: _figure(plots.frechet_curves, of_extractor)
        for extractor, of_extractor in by_extractor.items()
      },
      sheets=[
        (
          name,
          {
            "Real": _sheet(pictures.real, name),
            "Synthetic": _sheet(pictures.synthetic, name),
          },
        )
        for name in names
        if _any(pictures.real, name) or _any(pictures.synthetic, name)
      ],
      pairs=[
        {
          "suspect": pair.suspect,
          "caption": pair.caption,
          "images": {
            title: rendering.png_uri(sheets.grid(image[None], 1))
            for title, image in (
              ("synthetic", pair.synthetic),
              ("nearest training", pair.training),
              ("nearest held-out", pair.heldout),
            )
            if image is not None
          },
        }
        for pair in pictures.pairs
      ],
      strips={
        name: rendering.jpeg_uri(sheets.grid(images, len(images)))
        for name, images in (pictures.interpolations or {}).items()
        if len(images)
      },
      embedding=pictures.embedding,
      embedding_image=None
      if pictures.embedding is None
      else rendering.svg_uri(
        projection.draw(
          pictures.embedding.points,
          pictures.embedding.real_labels,
          pictures.embedding.synthetic_labels,
          names,
        )
      ),
    )
  )


def _any(images, name):
  return len(images.get(name, ())) > 0


def _figure(draw, rows):
  return rendering.svg_uri(draw(rows)) if rows else None


def _sheet(images, name):
  """Embed a class's images, which the page's style enlarges."""
  if not _any(images, name):
    return None
  return rendering.jpeg_uri(sheets.grid(images[name], _COLUMNS))
