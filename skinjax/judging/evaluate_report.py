"""What an evaluation shows: its pictures, and its lines in the log."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from skinjax.data import datasets
from skinjax.judging import comparisons, copying, page, projection
from skinjax.metrics import copies, diversity, pixels
from skinjax.runtime import randomness
from skinjax.training import trained

_SHOWN = 12  # images of a class, and pairs
_STEPS = 10  # images from one latent to another


def counts(
  splits: comparisons.Splits, info: datasets.DataInfo
) -> list[dict[str, Any]]:
  """Counts the images of each class."""
  train, held_out, synthetic = (
    np.bincount(split.labels, minlength=info.num_classes) for split in splits
  )
  return [
    {
      "name": name,
      "train_images": int(train[label]),
      "heldout_images": int(held_out[label]),
      "synthetic_images": int(synthetic[label]),
    }
    for label, name in enumerate(info.class_names)
  ]


def diversities(
  synthetic: datasets.Split, dataset: datasets.Dataset
) -> dict[str, dict[str, Any]]:
  """Compares by class the diversity of images with that of real ones."""
  names = dataset.info.class_names
  real, generated = (
    diversity.distances(split.images, split.labels, names)
    for split in (dataset.train, synthetic)
  )
  compared = diversity.compare(
    generated, real, diversity.COLLAPSE[dataset.info.name]
  )
  return {name: dataclasses.asdict(found) for name, found in compared.items()}


def notes(config, judged) -> list[str]:
  """Says what a reader has to know of the numbers.

  Args:
    config: of configs/evaluate.py.
    judged: evaluate.Judged.
  """
  told = [
    "Held-out images are those of the validation and the test lesions; the "
    "classifiers are scored on the test lesions alone. The Fréchet distance, "
    "precision, recall, density and coverage are of as many synthetic images "
    "as there are held-out ones; the kernel distance is of all synthetic "
    f"images, up to {comparisons.MOST} of a class."
  ]
  if judged.origin is None:
    told.append(
      "Nothing tells which lesions the images' generator has learnt from: if "
      "it has seen held-out ones, the numbers flatter it."
    )
  if config.classifier:
    told.append(
      "The classifier whose features are compared has been trained on the "
      "training images, and knows them from held-out ones: its floor is not 0."
    )
  return told


def next_steps(config, judged) -> list[str]:
  """Says what to do next; arguments as of `notes`."""
  arguments = f"dataset={config.data.name},size={config.data.size}"
  if not judged.generator:
    return []
  return [
    "Whether the images help a classifier that has real ones, too:",
    f"python main.py --config=configs/study.py:{arguments} "
    f"--config.generator={config.generator} --workdir=DIR",
  ]


def pictures(
  splits: comparisons.Splits,
  info: datasets.DataInfo,
  found: copying.Found,
  extractor: str,
  features: comparisons.Splits,
  generator: trained.Trained | None,
  seed: int,
) -> page.Pictures:
  """Gathers the pictures of the page; none of them is picked by hand.

  Args:
    splits: the images.
    info: of the real data.
    found: the copies.
    extractor: the name of the one whose features are mapped.
    features: those.
    generator: what has drawn the images; None for a folder.
    seed: of the interpolations' latents.
  """
  return page.Pictures(
    real=_first(splits.train, info),
    synthetic=_first(splits.synthetic, info),
    pairs=_pairs(splits, found),
    interpolations=generator and interpolations(generator, seed),
    embedding=page.Embedding(
      projection.project(features.train, features.synthetic),
      splits.train.labels,
      splits.synthetic.labels,
      extractor,
    ),
  )


def _first(
  split: datasets.Split, info: datasets.DataInfo
) -> dict[str, np.ndarray]:
  return {
    name: split.images[split.labels == label][:_SHOWN]
    for label, name in enumerate(info.class_names)
  }


def _pairs(splits: comparisons.Splits, found: copying.Found) -> list[page.Pair]:
  """Shows the suspects, or else the images that are nearest to training.

  Synthetic ones are turned as they are nearest.
  """
  suspects = {}  # an image may be suspected by pixels and by features
  for suspect in found.suspects:
    suspects.setdefault(suspect.synthetic, suspect)
  nearest = found.training["pixels"]
  pairs = []
  for place in (list(suspects) or np.argsort(nearest.distance))[:_SHOWN]:
    suspect = suspects.get(place) or copies.Suspect(
      synthetic=int(place),
      training=int(nearest.index[place]),
      orientation=int(nearest.orientation[place]),
      kind="pixels",
      distance=float(nearest.distance[place]),
      threshold=0.0,
    )
    turned = pixels.orientations(splits.synthetic.images[place : place + 1])
    pairs.append(
      page.Pair(
        turned[suspect.orientation, 0],
        splits.train.images[suspect.training],
        splits.held_out.images[found.held_out[suspect.kind].index[place]],
        f"{splits.synthetic.image_ids[place]} and "
        f"{splits.train.image_ids[suspect.training]}: {suspect.distance:.3f} "
        f"by {suspect.kind}, {copying.ORIENTATIONS[suspect.orientation]}",
        bool(suspects),
      )
    )
  return pairs


def interpolations(
  generator: trained.Trained, seed: int
) -> dict[str, np.ndarray]:
  """Draws by class what lies between two latents.

  Args:
    generator: a trained GAN.
    seed: of the latents.

  Returns:
    By class uint8 [images, size, size, channels], along the great circle that
    joins the two (White 2016): latents on it are as long as those that were
    trained on, and those on the straight line are not.
  """
  names = generator.info.class_names
  dims = (generator.config.get("gan") or generator.config).model.latents
  key = randomness.named(jax.random.key(seed), "interpolation")
  first, last = jax.random.normal(key, (2, len(names), 1, dims))
  unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)
  cosine = jnp.sum(unit(first) * unit(last), -1, keepdims=True)
  angle = jnp.arccos(jnp.clip(cosine, -1, 1))
  share = jnp.linspace(0, 1, _STEPS)[None, :, None]
  latents = (
    jnp.sin((1 - share) * angle) * first + jnp.sin(share * angle) * last
  ) / jnp.sin(angle)
  labels = np.repeat(np.arange(len(names), dtype=np.int32), _STEPS)
  images = trained.draw(
    generator.task,
    generator.state,
    latents.reshape(-1, dims),
    labels,
    config=generator.config,
    info=generator.info,
  )
  images = images.reshape(len(names), _STEPS, *images.shape[1:])
  return dict(zip(names, images, strict=True))


def tell(evaluation: dict[str, Any]) -> None:
  """Logs a line a class: kernel distance, floor, and suspected copies."""
  first = evaluation["distances"][0]["extractor"]
  rows = {
    (row["class"], row["comparison"]): row
    for row in evaluation["distances"]
    if row["extractor"] == first
  }
  shown = lambda row: "{value:.3f} [{low:.3f}, {high:.3f}]".format(
    **row["kernel"]
  )
  for name, found in evaluation["copies"]["classes"].items():
    words = rows[name, "synthetic"].get("refused")
    if not words:
      floor = rows[name, "floor"]
      words = f"kernel distance {shown(rows[name, 'synthetic'])}, of held-out "
      words += f"real images {floor.get('refused') or shown(floor)}"
    logging.info(
      "%-8s %s; %d of %d suspected of being copies",
      name,
      words,
      found["suspects"],
      found["images"],
    )
