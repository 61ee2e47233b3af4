"""Shipped configs and a data set, small enough to train in a test."""

import functools
import importlib
import json
import re
from unittest import mock

import jax
import ml_collections
import numpy as np

from skinjax.data import datasets, sources
from skinjax.models import convolution
from skinjax.training import tasks
from tfds_ham10000.toy_lesions import lesions

SIZE = 16
CLASSES = ("disc", "square", "stripes")
COUNTS = {"train": (12, 7, 5), "validation": (5, 4, 3), "test": (6, 4, 3)}

# A run has two calls of two steps, with tiny networks.
_BRIEF = {"log_every": 2, "eval_every": 2, "save_every": 2, "train.steps": 4}
# It measures no kernel distances, which load weights; those of kid_test.py do.
_GAN = {"sample_every": 4, "kid_every": 0, "best": "", "model.latents": 6}
_CHANGES = {
  "acgan": {
    **_BRIEF,
    **_GAN,
    "train.batch_size": 8,
    "model.generator_width": 4,
    "model.discriminator_width": 4,
  },
  "classifier": {**_BRIEF, "train.batch_size": 8, "model.width": 4},
  "classifier,network=efficientnet": {
    **_BRIEF,
    "train.batch_size": 8,
    "model.input": 32,
  },
  # A call at 8x8, then 16x16, which fades in over two steps.
  "progan": {
    **_BRIEF,
    **_GAN,
    "model.base": 16,
    "model.most": 8,
    "growth.first_size": 8,
    "growth.batch_sizes": (8, 8, 8),
    "growth.fade_images": 16,
    "growth.stable_images": 16,
    "growth.round_steps": 2,
  },
  "synthesize": {"per_class": 3},
  "predict": {},
}
# The pretrained network is as published, unless a test shortens it.
_PROJECTED = {
  "model.projected.input": 32,
  "model.projected.width": 4,
  "model.projected.most": 8,
}
for gan in ("acgan", "progan"):
  own = _CHANGES[gan] | _PROJECTED
  own.pop("model.discriminator_width", None)
  _CHANGES[f"{gan},variant=projected"] = own
# All options for few and imbalanced images at once; `__` are the dots.
FEW = {
  "model__conditional_from": 8,
  "model__embedding": 6,
  "augment__discriminator": "affine",
  "augment__discriminator_turns": True,
  "augment__discriminator_brightness": 0.1,
  "augment__adapt_target": 0.6,
  "augment__adapt_images": 40,
  "loss__adversarial": "hinge",
  "loss__lecam": 0.3,
  "loss__class_loss": "d2d_ce",
  "loss__penalty": "r1",
  "loss__penalty_weight": 0.1,
  "loss__penalty_every": 2,
  "train__generated_labels": "balanced",
}
_CHANGES["study"] = {
  f"{part}.{key}": value
  for part, name in (("gan", "acgan"), ("network.resnet", "classifier"))
  for key, value in _CHANGES[name].items()
} | {"seeds": 1, "arms": ("classical", "capped_25")}
_CHANGES["quickstart"] = _CHANGES["study"]
_CHANGES["evaluate"] = {"per_class": 3} | {
  f"training.{key}": value for key, value in _CHANGES["classifier"].items()
}
_CHANGES["progan_paper"] = _CHANGES["progan"]
for gan in ("acgan", "progan"):
  _CHANGES[f"by_class,gan={gan}"] = {
    f"gan.{key}": value for key, value in _CHANGES[gan].items()
  } | {"per_class": 3}
_CHANGES["by_class"] = _CHANGES["by_class,gan=progan"]


def lines(path, name="metrics"):
  """Return the content of a workdir's NAME.jsonl."""
  text = (path / f"{name}.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def config(name, arguments="dataset=toy", **changes):
  """Return a shipped config, shrunk; `changes` have `__` for the dots."""
  module = importlib.import_module(f"configs.{name}")
  shrunk = module.get_config(arguments)
  if "parallel" in shrunk:
    shrunk.parallel = "one"
  if "data" in shrunk:
    shrunk.data.size = SIZE
  changes = {key.replace("__", "."): value for key, value in changes.items()}
  _, *part = re.split("(,gan=|,network=|,variant=)", arguments)
  known = _CHANGES.get(f"{name}{''.join(part)}", _CHANGES[name])
  shrunk.update_from_flattened_dict({**known, **changes})
  return shrunk.lock()


def frozen(name, arguments="dataset=toy", **changes):
  """Return what `config` does, frozen, as the tasks take it."""
  return ml_collections.FrozenConfigDict(config(name, arguments, **changes))


def split(name, counts):
  """Draw images of three shapes; about every other lesion has two."""
  rng = np.random.default_rng(len(name))
  labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
  shapes = [x**2 + y**2 < 25, np.maximum(abs(x), abs(y)) < 4, x % 4 < 2]
  images, groups = [], []
  for place, label in enumerate(labels):
    colour = rng.integers(40, 215, 3)
    image = np.where(shapes[label][..., None], colour, 255 - colour)
    image = image + rng.normal(0, 8, image.shape)
    images.append(np.clip(image, 0, 255).astype(np.uint8))
    groups.append(f"{name}_{label}_{place - place % 3 // 2}")
  ids = [f"{name}_{place:03d}" for place in range(len(labels))]
  return sources.Split(
    np.stack(images), labels, np.array(ids), np.array(groups)
  )


@functools.cache
def dataset():
  """Return a data set in memory."""
  splits = {name: split(name, counts) for name, counts in COUNTS.items()}
  info = datasets.DataInfo(
    name="toy_lesions",
    size=SIZE,
    channels=3,
    class_names=CLASSES,
    class_counts=COUNTS["train"],
    drawn=True,
    collapse=0.5,
    groups_known=True,
    stored=SIZE,
    fingerprint=datasets.fingerprint(splits["train"]),
  )
  return datasets.Dataset(info, **splits)


@functools.cache
def state(name, seed=0, arguments="dataset=toy", **changes):
  """Return a task's state before the first step, in host memory."""
  task = tasks.named(name)
  init = functools.partial(
    task.init_state, frozen(name, arguments, **changes), dataset().info
  )
  return jax.device_get(jax.jit(init)(jax.random.key(seed)))


def few_toys():
  """Reduce toy_lesions to a quarter of its images, in a context."""
  few = {name: max(count // 4, 20) for name, count in lesions.COUNTS.items()}
  return mock.patch.dict(lesions.COUNTS, few)


def convolve_natively():
  """Use XLA's convolutions instead of matrix products in this process."""
  convolution._by_platform = lambda x, kernel, *, cpu, native: native(x, kernel)


def batch(size=4):
  """Return the first images of each class in turn."""
  train = dataset().train
  order = np.argsort(
    [np.sum(train.labels[:i] == label) for i, label in enumerate(train.labels)],
    kind="stable",
  )[:size]
  return {"image": train.images[order], "label": train.labels[order]}


def leaves(tree):
  """Return the arrays of a tree by their path."""
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _blocks(variables, images):
  means = images.reshape(len(images), 4, SIZE // 4, 4, SIZE // 4, -1)
  return means.mean((2, 4)).reshape(len(images), -1) * variables["scale"]


def extractor(size=SIZE):
  """Return a features.Extractor without weights: the means of 16 blocks."""
  from skinjax.metrics import features

  return features.Extractor(
    name="Blocks@16",
    size=SIZE,
    channels=3,
    dims=48,
    apply=_blocks,
    variables={"scale": np.float32(1 / 64)},
    digest="",
  )
