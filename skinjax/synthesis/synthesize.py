"""The task that generates an image folder with a trained generator."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np
from absl import logging

import skinjax
from skinjax.data import datasets, image_folder, provenance, sources
from skinjax.metrics import diversity, features
from skinjax.report import sheets
from skinjax.runtime import command_line, errors, files, randomness, workdir
from skinjax.synthesis import filtering, generators, quality
from skinjax.training import trained
from tfds_ham10000.images import encode_png

_COLUMNS = 16  # at most, of the sheet


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> dict:
  """Generate WORKDIR/synthetic, and evaluate its images.

  Writes `synthetic/` (see data/image_folder.py), `sheet.png` and
  `summary.json`, which is returned; see `judge`. The data set is needed only if
  images are to be dropped; then generator and classifier may not have been
  trained on its validation or test lesions, unless only copies are dropped.

  Raises:
    InputError: no generator, one of other data, too few images, a folder by
      another generator, or a filter without the classifier or lesions that it
      needs.
  """
  config = ml_collections.FrozenConfigDict(config)
  require_several(config.per_class)
  if config.drop_unlike and not config.classifier:
    raise errors.InputError(
      f"config.drop_unlike={config.drop_unlike} needs a classifier: name the "
      "workdir of one in config.classifier."
    )
  generator = generators.load(config.generator, config.generator_checkpoint)
  info, asked = generator.info, tuple(map(str, config.data.classes))
  for name in asked:
    errors.require_known("class of this generator", name, info.class_names)
  classifier = None
  if config.classifier:
    classifier = trained.load_classifier(config.classifier)
    trained.require_for(classifier, info)
  contents = {
    "generator": generator.digest,
    "classifier": classifier and classifier.digest,
  }
  with workdir.claim(path, config, contents=contents) as path:
    criteria = _criteria(config, path, generator, classifier)
    drawn = [not asked or name in asked for name in info.class_names]
    folder = obtain(
      path / "synthetic",
      generator,
      config.per_class * np.array(drawn),
      config.seed,
      criteria,
      config.truncation,
    )
    summary = judge(folder.split, generator, classifier)
    files.write_json(path / "summary.json", summary)
    write_sheet(path, folder.split, info.class_names)
    logging.info("%d images are in %s", len(folder.split.labels), folder.path)
    return summary


def require_several(per_class: int) -> None:
  """Raise an InputError unless each class gets at least two images."""
  if per_class < 2:
    raise errors.InputError(
      f"per_class={per_class}: at least 2 images of a class are needed to "
      "measure diversity."
    )


def _criteria(
  config, path: pathlib.Path, generator: generators.Generator, classifier
) -> list[quality.Criterion]:
  """Return the criteria that filter the images, or only score them."""
  probabilities = classifier and (
    lambda split: trained.probabilities(classifier, split)
  )
  dropping = config.drop_unlike or config.drop_distant
  if not (dropping or config.drop_copies):
    return [quality.agreement(probabilities)] if classifier else []
  data = ml_collections.ConfigDict(config.data.to_dict())
  # Limits are by label, and the generator may have other labels than the whole
  # data set. The config's classes only restrict which ones are generated.
  data.classes = generator.class_names
  dataset = datasets.load(data)
  provenance.write_origin(path, dataset)
  networks = {"The generator": generator, "The classifier": classifier}
  known = {}
  for what, network in networks.items():
    if network and dropping:
      trained.require_for(network, dataset.info)
      known[what] = provenance.refuse_seen(
        network.origin, dataset, what, network.path
      )
  criteria = []
  if config.drop_copies:
    criteria.append(quality.originality(dataset, generator.origin["groups"]))
  if classifier:
    learnt = {}
    if config.drop_unlike:
      learnt = {
        "pretrained": trained.pretrained_networks(classifier.config),
        "groups": classifier.origin["groups"],
        "unknown_origin": not known["The classifier"],
        "digest": classifier.digest,
      }
    criteria.append(
      quality.agreement(
        probabilities, dataset.validation, config.drop_unlike, **learnt
      )
    )
  if config.drop_distant:
    criteria.append(
      quality.nearness(
        features.efficientnet(),
        dataset,
        config.drop_distant,
        sources.features_dir(),
      )
    )
  return criteria


def obtain(
  directory: pathlib.Path,
  generator: generators.Generator,
  counts: np.ndarray,
  seed: int,
  criteria: Sequence[quality.Criterion] = (),
  truncation: float = 0.0,
) -> image_folder.ImageFolder:
  """Read a generator's image folder; generate it first if needed.

  Images that fail `criteria` are left out; counts are [classes]; `truncation`
  is as in trained.samples.

  Raises:
    InputError: the existing folder is by another generator.
  """
  if not directory.exists():
    make(directory, generator, counts, seed, criteria, truncation)
  folder = image_folder.read(directory, generator.info)
  if folder.generator.get("state_sha256") != generator.digest:
    raise errors.InputError(
      f"{directory} was made by another generator, or before this one was "
      "trained further: use another workdir."
    )
  return folder


def make(
  directory: pathlib.Path,
  generator: generators.Generator,
  counts: np.ndarray,
  seed: int,
  criteria: Sequence[quality.Criterion] = (),
  truncation: float = 0.0,
) -> None:
  """Generate images and write them as an image folder; see `obtain`.

  Raises:
    InputError: almost no images of a class pass.
  """
  labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  first = generators.synthesis_key(seed)

  def sample(labels, number):
    key = randomness.named(first, f"again {number}") if number else first
    return generator.sample_by_key(labels, key, truncation)

  drawn = filtering.draw(sample, labels, criteria, generator.class_names)
  made = provenance_of(generator) | {"truncation": truncation}
  if chosen_by := [c for c in criteria if c.limits is not None]:
    made |= _chosen(made, chosen_by, drawn.report)
  image_folder.write(
    directory,
    drawn.images,
    drawn.labels,
    class_names=generator.class_names,
    seed=seed,
    provenance=made,
    scores=drawn.scores,
  )


def _chosen(
  made: Mapping[str, Any],
  chosen_by: Sequence[quality.Criterion],
  report: Mapping[str, Any],
) -> dict[str, Any]:
  """Return the provenance entries that change if the images were filtered.

  The images then also depend on what these criteria were trained on.
  """
  groups = {*made["trained_on"]["groups"]}.union(*(c.groups for c in chosen_by))
  through = {*made["pretrained"]}.union(*(c.pretrained for c in chosen_by))
  networks = [c.digest for c in chosen_by if c.digest]
  trained_on = {**made["trained_on"], "groups": sorted(groups)}
  if any(c.unknown_origin for c in chosen_by):
    trained_on["unknown_origin"] = True
  return {
    "filter": {**report, "networks": networks},
    "trained_on": trained_on,
    "pretrained": sorted(through),
  }


def provenance_of(generator: generators.Generator) -> dict[str, Any]:
  """Return the provenance of a generator's images; see image_folder.py."""
  return {
    "name": generator.title,
    "command": command_line.typed(),
    "skinjax": skinjax.__version__,
    "generator": {
      "workdir": str(generator.path),
      "step": generator.step,
      "state_sha256": generator.digest,
      "config": generator.networks[0].config.to_dict(),
    },
    "trained_on": generator.origin,
    "pretrained": generator.origin.get("pretrained", []),
  }


def judge(
  split: datasets.Split,
  generator: generators.Generator,
  classifier: trained.Trained | None = None,
) -> dict[str, dict]:
  """Evaluate the diversity of each class, and its agreement with a classifier.

  The classifier was trained on real images.

  Returns:
    For each class that has images: `images`; `diversity_ratio`, the mean
    pairwise distance over that of training images, and whether it has
    `collapsed`, both None if the generator is from an earlier version; and
    `agreement`, the fraction of images whose class the classifier predicts,
    None without one.
  """
  info = generator.info
  compared = diversity.compare(
    diversity.distances(split.images, split.labels, info.class_names),
    generator.origin.get("diversity", {}),
    info.collapse,
  )
  agrees = trained.agrees(classifier, split) if classifier else None
  summary = {}
  for label, name in enumerate(info.class_names):
    chosen = split.labels == label
    if not chosen.any():
      continue
    found = compared.get(name)
    row = {
      "images": int(chosen.sum()),
      "diversity_ratio": found and found.ratio,
      "collapsed": found and found.collapsed,
      "agreement": None if agrees is None else float(agrees[chosen].mean()),
    }
    summary[name] = row
    words = f"{name:<6} {row['images']:5d} images"
    if found:
      words += f"  diversity {found.ratio:.2f} of real"
      words += "  COLLAPSED" * found.collapsed
    if agrees is not None:
      words += f"  agreement {row['agreement']:.2f}"
    logging.info("%s", words)
  return summary


def write_sheet(
  path: pathlib.Path, split: datasets.Split, class_names: tuple[str, ...]
) -> None:
  """Write the `sheet` of images as sheet.png into a directory."""
  files.write_bytes(path / "sheet.png", encode_png(sheet(split, class_names)))


def sheet(split: datasets.Split, class_names: tuple[str, ...]):
  """Make a sheet of each class's first images, one row per class."""
  shown, counts = np.unique(split.labels, return_counts=True)
  columns = min(_COLUMNS, *counts)
  rows = [split.images[split.labels == label][:columns] for label in shown]
  return sheets.contact_sheet(
    np.stack(rows), [class_names[label] for label in shown]
  )
