"""The task that evaluates images: distances, diversity, copies, usefulness."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from skinjax.data import datasets, image_folder, provenance, sources
from skinjax.judging import (
  copy_search,
  distances,
  findings,
  page,
  plots,
  synthetic_training,
)
from skinjax.judging.distances import Splits
from skinjax.metrics import diversity, features, pixels
from skinjax.runtime import (
  command_line,
  errors,
  files,
  progress,
  randomness,
  workdir,
)
from skinjax.synthesis import generators, synthesize
from skinjax.training import trained

_SHOWN = 12  # images per class, and pairs, on the page
_STEPS = 10  # images from one latent to another


class Judged(NamedTuple):
  """The images to evaluate."""

  split: datasets.Split
  subject: str  # what they are, in words
  # The groups of the real data that their generator was trained on; None if
  # they cannot be traced.
  learnt: frozenset[str] | None
  pretrained: frozenset[str]  # networks that it was trained through
  chosen_by: frozenset[str]  # digests of the networks that filtered the images
  interpolations: Mapping[str, np.ndarray]  # empty without a generator


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> dict:
  """Evaluate images as described in configs/evaluate.py, in a workdir.

  Returns:
    The content of evaluation.json (see judging/page.py); index.html shows it.

  Raises:
    InputError: there are no images, their generator has seen lesions that are
      held out here, or an extractor or classifier cannot be loaded.
  """
  config = ml_collections.FrozenConfigDict(config)
  if bool(config.generator) == bool(config.synthetic):
    raise errors.InputError(
      "Set exactly one of config.generator (the workdir of a trained GAN) and "
      "config.synthetic (a folder of images by class)."
    )
  synthesize.require_several(config.per_class)
  classifier = generator = inception = folder = None
  if config.generator:
    generator = generators.load(config.generator, config.generator_checkpoint)
    trained.require_source(generator.networks[0], config)
  if config.classifier:
    classifier = trained.load_classifier(config.classifier)
    trained.require_source(classifier, config)
  dataset = datasets.load(config.data)
  if classifier:
    _require(classifier, dataset, "The classifier")
  if config.inception:
    inception = features.inception(config.inception)
  if generator:
    _require(generator, dataset, "The generator")
  else:
    folder = image_folder.read(config.synthetic, dataset.info)
  contents = {
    "generator": generator and generator.digest,
    "synthetic": folder and datasets.fingerprint(folder.split),
    "classifier": classifier and classifier.digest,
    "inception": inception and inception.digest,
  }
  with workdir.claim(path, config, contents=contents) as path:
    provenance.write_origin(path, dataset)
    judged = _read(config, path, dataset, generator, folder)
    evaluation, pictures = _judge(
      config, path, dataset, judged, classifier, inception
    )
    files.write_json(path / "evaluation.json", evaluation)
    page.write(path / "index.html", evaluation, pictures)
    found = findings.describe(evaluation)
    for sentence in (found.headline, *found.sentences):
      logging.info("%s", sentence)
    logging.info("The whole evaluation is in %s", path / "index.html")
    return evaluation


def _require(network, dataset: datasets.Dataset, what: str) -> None:
  """Refuse a network that does not fit the data, or that causes a leak."""
  trained.require_for(network, dataset.info)
  provenance.refuse_seen(network.origin, dataset, what, network.path)


def _read(config, path: pathlib.Path, dataset, generator, folder) -> Judged:
  """Return the images; generate them first if a generator is given."""
  strips = {}
  if generator:
    counts = np.full(dataset.info.num_classes, config.per_class)
    folder = synthesize.obtain(
      path / "synthetic", generator, counts, config.seed
    )
    strips = interpolations(generator, config.seed)
  provenance.refuse_seen(
    folder.origin, dataset, "The generator of the images", folder.path
  )
  return Judged(
    folder.split,
    f"{folder.title}, from {config.generator or config.synthetic}",
    provenance.groups_learnt(folder.origin, dataset),
    folder.pretrained,
    folder.chosen_by,
    strips,
  )


def interpolations(
  generator: generators.Generator, seed: int
) -> dict[str, np.ndarray]:
  """Generate images between two random latents for each class.

  Returns:
    By class, uint8 [images, size, size, channels], along the great circle that
    joins the two (White 2016): latents on it are as long as those used in
    training, and those on the straight line are not.
  """
  names = generator.class_names
  key = randomness.named(jax.random.key(seed), "interpolation")
  shape = (2, len(names), 1, generator.num_latents)
  first, last = jax.random.normal(key, shape)
  unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)
  cosine = jnp.sum(unit(first) * unit(last), -1, keepdims=True)
  angle = jnp.arccos(jnp.clip(cosine, -1, 1))
  share = jnp.linspace(0, 1, _STEPS)[None, :, None]
  latents = (
    jnp.sin((1 - share) * angle) * first + jnp.sin(share * angle) * last
  ) / jnp.sin(angle)
  return {
    name: generator.draw(latents[label], label)
    for label, name in enumerate(names)
  }


def _judge(
  config, path, dataset, judged: Judged, classifier, inception
) -> tuple[dict[str, Any], page.Pictures]:
  """Compute an evaluation and its pictures; see judging/page.py."""
  info, names = dataset.info, dataset.info.class_names
  held_out = datasets.joined([dataset.validation, dataset.test])
  splits = Splits(dataset.train, held_out, judged.split)
  counts = (
    np.bincount(split.labels, minlength=len(names)).tolist() for split in splits
  )
  compared = diversity.compare(
    diversity.distances(judged.split.images, judged.split.labels, names),
    diversity.distances(dataset.train.images, dataset.train.labels, names),
    info.collapse,
  )
  extractors = [
    features.efficientnet(config.input_size),
    features.squeezenet(),
    *filter(None, [inception, classifier and of_classifier(classifier)]),
  ]
  # The first decides: one that the generator was not trained through.
  has_seen = lambda extractor: extractor.pretrained in judged.pretrained
  extractors.sort(key=has_seen)
  images = [split.images for split in splits]
  kinds = ("training", "held-out", "synthetic")
  upright = [
    Splits(*map(functools.partial(_extract, extractor), images, kinds))
    for extractor in extractors
  ]
  rows = []
  for extractor, of_splits in zip(extractors, upright, strict=True):
    parts = map(distances.of_split, of_splits, splits)
    rows += [
      {"extractor": extractor.name, "frechet_name": extractor.frechet_name}
      | row
      for row in distances.compare(
        *parts,
        names,
        config.seed,
        progress.logger(f"Distances in {extractor.name}, by class"),
      )
    ]
  logging.info("Nearest real images of each synthetic image")
  chosen = copy_search.some(held_out, config.seed)
  searched = splits._replace(held_out=held_out.take(chosen))
  first = upright[0]._replace(held_out=upright[0].held_out[chosen])
  turns = len(copy_search.ORIENTATIONS) if config.orientations else 1
  vectors = {
    "pixels": copy_search.of_pixels(*searched, turns),
    "features": copy_search.of_features(
      functools.partial(_extract, extractors[0]), first, *searched, turns
    ),
  }
  found = copy_search.search(vectors, *searched, names, config.seed)
  evaluation = {
    "schema": 2,
    "name": "Evaluation",
    "data": info.name,
    "drawn": info.drawn,
    "leak_excluded": judged.learnt is not None,
    "pretrained": sorted(judged.pretrained),
    "seen": [e.name for e in extractors if has_seen(e)],
    "command": command_line.typed(),
    "subject": judged.subject,
    "classes": [
      {
        "name": name,
        "train_images": train,
        "heldout_images": held,
        "synthetic_images": synthetic,
      }
      for name, train, held, synthetic in zip(names, *counts, strict=True)
    ],
    "collapse": info.collapse,
    "diversity": {n: dataclasses.asdict(row) for n, row in compared.items()},
    "distances": rows,
    "usefulness": _usefulness(config, path, dataset, judged, classifier),
    "copies": found.summary,
    "notes": _notes(dataset, classifier),
    "next_steps": [
      "To test whether the images help a classifier that also has real ones: "
      f"configs/study.py with --config.{kind}={config[kind]}"
      for kind in ("generator", "synthetic")
      if config[kind]
    ],
  }
  shown = lambda split: {
    name: split.images[split.labels == label][:_SHOWN]
    for label, name in enumerate(names)
  }
  pictures = page.Pictures(
    real=shown(dataset.train),
    synthetic=shown(judged.split),
    pairs=_pairs(searched, found),
    interpolations=judged.interpolations,
    embedding=plots.embedding(
      plots.project(first.train, first.synthetic),
      dataset.train.labels,
      judged.split.labels,
      names,
    ),
  )
  return evaluation, pictures


def of_classifier(network: trained.Trained) -> features.Extractor:
  """Make the extractor "NAME@SIZE" from a classifier of this project.

  NAME is the data set, "lesions" for HAM10000. Features trained on the classes
  see differences that ImageNet features do not. The features of the images that
  the classifier was trained on differ from those of new images.

  Raises:
    InputError: the network has no features.
  """
  task, config, info = network.task, network.config, network.info
  if task.features is None:
    raise errors.InputError(
      f"{network.path} is the workdir of task={config.task}, which has no "
      "features to compare: give one of task=classifier."
    )
  apply = lambda variables, images: task.features(
    variables, images / 127.5 - 1, config=config, info=info
  )
  variables = jax.device_get(network.state.average)
  shape = (1, info.size, info.size, info.channels)
  images = jax.ShapeDtypeStruct(shape, jnp.float32)
  shown = "lesions" if info.name == "ham10000" else info.name
  return features.Extractor(
    name=f"{shown}@{info.size}",
    size=info.size,
    channels=info.channels,
    dims=jax.eval_shape(apply, variables, images).shape[1],
    apply=apply,
    variables=variables,
    digest=f"{network.digest} {config.model.dtype}",
    pretrained=" ".join(trained.pretrained_networks(config)),
  )


def _extract(
  extractor: features.Extractor, images: np.ndarray, what: str
) -> np.ndarray:
  """Compute features, or read them from the user's cache."""
  return features.extract(
    extractor,
    images,
    cache_dir=sources.features_dir(),
    progress=progress.logger(f"{extractor.name} of {what} images"),
  )


def _usefulness(config, path, dataset, judged, classifier) -> dict | None:
  if not classifier and not config.usefulness:
    return None
  agreement, cas = {}, None
  if classifier:
    agreement = synthetic_training.agreement(classifier, judged.split)
  if config.usefulness:
    training = ml_collections.ConfigDict(config.training.to_dict())
    training.seed, training.parallel = config.seed, config.parallel
    training.data = ml_collections.ConfigDict(config.data.to_dict())
    cas = synthetic_training.classification_accuracy_score(
      training,
      path / "classifiers",
      dataset,
      judged.split,
      judged.learnt and sorted(judged.learnt),
    )
  learners = [classifier.config] if classifier else []
  learners += [config.training] if config.usefulness else []
  chosen_by_it = classifier and classifier.digest in judged.chosen_by
  known = {name for c in learners for name in trained.pretrained_networks(c)}
  return {
    "agreement": agreement,
    "classifier": str(config.classifier),
    "pretrained": sorted(known),
    "chosen_by_it": bool(chosen_by_it),
    "cas": cas,
  }


def _notes(dataset, classifier) -> list[str]:
  """Return what a reader must know about the numbers."""
  notes = [
    "Held-out images are those of the validation and the test lesions; the "
    "classifiers are scored on the test lesions alone. The Fréchet distance, "
    "precision, recall, density and coverage compare the same number of "
    "synthetic and held-out images; the kernel distance uses all synthetic "
    f"images, up to {distances.MOST} per class."
  ]
  if not dataset.info.groups_known:
    notes.append(datasets.GROUPS_UNKNOWN)
  if classifier:
    notes.append(
      "The classifier whose features are compared was trained on the training "
      "images, so its features of held-out images differ: its floor is not 0."
    )
    if provenance.groups_learnt(classifier.origin, dataset) is None:
      notes.append(
        "It is unknown which lesions that classifier was trained on: it may "
        "have seen images that are held out here."
      )
  return notes


def _pairs(splits: Splits, found: copy_search.Found) -> list[page.Pair]:
  """Return pairs of the suspects, or else of the nearest images.

  Synthetic images are turned to the orientation in which they are nearest.
  """
  kinds = {}  # an image may be suspected by pixels and by features
  for suspect in found.suspects:
    kinds.setdefault(suspect.synthetic, suspect.kind)
  order = np.argsort(found.training["pixels"].distance)
  pairs = []
  for place in (list(kinds) or order.tolist())[:_SHOWN]:
    kind = kinds.get(place, "pixels")
    nearest, held = found.training[kind], found.held_out[kind]
    turned = pixels.orientations(splits.synthetic.images[place : place + 1])
    turn, training = nearest.orientation[place], nearest.index[place]
    pairs.append(
      page.Pair(
        turned[turn, 0],
        splits.train.images[training],
        splits.held_out.images[held.index[place]],
        f"{splits.synthetic.image_ids[place]} and "
        f"{splits.train.image_ids[training]}: {nearest.distance[place]:.3f} "
        f"by {kind}, {copy_search.ORIENTATIONS[turn]}",
        bool(kinds),
      )
    )
  return pairs
