"""The task that judges a set of images: how real, how various, whose copies."""

import pathlib
import shlex
import sys
import time
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from absl import logging

from skinjax.data import (
  datasets,
  image_folder,
  provenance,
  sources,
  synthetic_set,
)
from skinjax.judging import (
  comparisons,
  copying,
  evaluate_report,
  page,
  usefulness,
)
from skinjax.judging.comparisons import Splits
from skinjax.metrics import features
from skinjax.runtime import errors, files, workdir
from skinjax.synthesis import synthesize
from skinjax.training import trained
from skinjax.training.writer import duration

_PAUSE = 5  # seconds between lines about progress


class Judged(NamedTuple):
  """The images that are judged.

  Attributes:
    split: the images.
    subject: what they are, in words.
    generator: what has drawn them; None for a folder.
    origin: what their generator has learnt from, see data/provenance.py; None
      where nothing tells.
  """

  split: datasets.Split
  subject: str
  generator: trained.Trained | None
  origin: dict[str, Any] | None


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> dict:
  """Judges images, and writes `evaluation.json` and a page that shows it.

  Args:
    config: of configs/evaluate.py.
    path: the workdir.

  Returns:
    What evaluation.json holds; see judging/page.py.

  Raises:
    InputError: no images, images of a generator that has seen lesions which
      are held out here, or an extractor or classifier that cannot be loaded.
  """
  config = ml_collections.FrozenConfigDict(config)
  if bool(config.generator) == bool(config.synthetic):
    raise errors.InputError(
      "One of config.generator (the workdir of a trained GAN) and "
      "config.synthetic (a folder of images by class) is wanted."
    )
  synthesize.require_several(config.per_class)
  with workdir.claim(path, config) as path:
    dataset = datasets.load(config.data)
    classifier = _classifier(config, dataset)
    judged = _judged(config, path, dataset)
    held_out = datasets.joined([dataset.validation, dataset.test])
    splits = Splits(dataset.train, held_out, judged.split)
    extractors = _extractors(config, dataset.info)
    extracted = [_extract_all(extractor, splits) for extractor in extractors]
    compared = splits._replace(held_out=copying.some(held_out, config.seed))
    found = _copies(extractors[0], dataset, compared, config.seed)
    evaluation = {
      "schema": 1,
      "name": "Evaluation",
      "data": dataset.info.name,
      "drawn": dataset.info.drawn,
      "command": shlex.join(["python", *sys.argv]),
      "subject": judged.subject,
      "classes": evaluate_report.counts(splits, dataset.info),
      "diversity": evaluate_report.diversities(judged.split, dataset),
      "distances": [
        row
        for extractor, of_splits in zip(extractors, extracted, strict=True)
        for row in _distances(extractor, of_splits, splits, dataset, config)
      ],
      "usefulness": _usefulness(config, path, dataset, judged, classifier),
      "copies": found.summary,
      "notes": evaluate_report.notes(config, judged),
      "next_steps": evaluate_report.next_steps(config, judged),
    }
    files.write_json(path / "evaluation.json", evaluation)
    pictures = evaluate_report.pictures(
      compared,
      dataset.info,
      found,
      extractors[0].name,
      extracted[0],
      judged.generator,
      config.seed,
    )
    page.write(path / "index.html", evaluation, pictures)
    evaluate_report.tell(evaluation)
    logging.info("All of it is in %s", path / "index.html")
    return evaluation


def _classifier(config, dataset) -> trained.Trained | None:
  if not config.classifier:
    return None
  classifier = trained.load_classifier(config.classifier)
  trained.require_for(classifier, dataset.info)
  provenance.refuse_seen(
    classifier.origin, dataset, "The classifier", config.classifier
  )
  return classifier


def _judged(config, path: pathlib.Path, dataset: datasets.Dataset) -> Judged:
  """Draws or reads the images, and refuses them if they leak."""
  info = dataset.info
  if config.synthetic:
    directory, origin = pathlib.Path(config.synthetic), None
    if (directory / "provenance.json").exists():
      _, provenance = synthetic_set.read(directory, info.class_names)
      origin = provenance["trained_on"]
      provenance.refuse_seen(origin, dataset, "What made the images", directory)
    split = image_folder.read(directory, info)
    return Judged(split, f"the images in {directory}", None, origin)
  generator = trained.load_generator(
    config.generator, config.generator_checkpoint
  )
  trained.require_for(generator, info)
  provenance.refuse_seen(
    generator.origin, dataset, "The generator", config.generator
  )
  counts = np.full(info.num_classes, config.per_class)
  split = synthesize.obtain(path / "synthetic", generator, counts, config.seed)
  subject = (
    f"images of the {generator.task.title} in {config.generator}, step "
    f"{generator.step}"
  )
  return Judged(split, subject, generator, generator.origin)


def _extractors(config, info: datasets.DataInfo) -> list[features.Extractor]:
  found = [features.efficientnet(config.input_size)]
  if config.inception:
    found.append(features.inception(config.inception))
  if config.classifier:
    found.append(features.classifier(config.classifier, info))
  return found


def _extract_all(extractor: features.Extractor, splits: Splits) -> Splits:
  """Computes the features of all images, each array [images, dims]."""
  return Splits(
    *(
      _extract(extractor, split.images, what)
      for split, what in zip(
        splits, ("training", "held-out", "synthetic"), strict=True
      )
    )
  )


def _distances(
  extractor,
  of_splits: Splits,
  splits: Splits,
  dataset,
  config,
) -> list[dict[str, Any]]:
  """Compares sets of features; see comparisons.compare."""
  logging.info("Distances of %s by class", extractor.name)
  rows = comparisons.compare(
    *map(comparisons.of_split, of_splits, splits),
    dataset.info.class_names,
    config.seed,
  )
  known = {"extractor": extractor.name, "frechet_name": extractor.frechet_name}
  return [known | row for row in rows]


def _copies(extractor, dataset, splits: Splits, seed: int) -> copying.Found:
  logging.info("Nearest real images of each synthetic one")
  arguments = dataset, splits.held_out, splits.synthetic
  vectors = {
    "pixels": copying.of_pixels(*arguments),
    "features": copying.of_features(
      lambda images, what: _extract(extractor, images, what), *arguments
    ),
  }
  return copying.judge(vectors, *arguments, seed)


def _extract(
  extractor: features.Extractor, images: np.ndarray, what: str
) -> np.ndarray:
  """Computes features, or finds them in the user's cache."""
  start = told = time.monotonic()

  def progress(done: int, total: int) -> None:
    nonlocal told
    now = time.monotonic()
    if now - told > _PAUSE:
      told, left = now, (now - start) / done * (total - done)
      logging.info(
        "%s of %d of %d %s images, %s left",
        *(extractor.name, done, total, what, duration(left)),
      )

  cache = pathlib.Path(sources.cache_dir()) / "features"
  return features.extract(extractor, images, cache_dir=cache, progress=progress)


def _usefulness(config, path, dataset, judged, classifier) -> dict | None:
  agreement, cas = {}, None
  if classifier:
    agreement = usefulness.agreement(classifier, judged.split)
  if config.usefulness:
    training = ml_collections.ConfigDict(config.training.to_dict())
    training.seed, training.parallel = config.seed, config.parallel
    training.data = ml_collections.ConfigDict(config.data.to_dict())
    cas = usefulness.classification_accuracy_score(
      training,
      path / "classifiers",
      dataset,
      judged.split,
      tuple((judged.origin or {}).get("groups", ())),
    )
  if not agreement and not cas:
    return None
  return {
    "agreement": agreement,
    "classifier": str(config.classifier),
    "cas": cas,
  }
