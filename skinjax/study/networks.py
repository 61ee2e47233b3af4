"""The networks of a study: trains classifiers from a config and images.

`head` is logistic regression on frozen features (study/head.py). The others are
trained by the task `classifier`: `resnet` from scratch, `efficientnet` from
ImageNet weights.
"""

import pathlib
from collections.abc import Callable

import ml_collections
import numpy as np

from skinjax.data import batches, datasets
from skinjax.data.sources import Split
from skinjax.models import efficientnet
from skinjax.runtime import errors, parallel, workdir
from skinjax.study import head
from skinjax.training import loop, tasks, trained
from skinjax.training.tasks import classifier

HEAD = "head"
_HEAD_BALANCES = ("none", "logit_adjustment")
# Increased when the same config and images result in a different network.
_VERSIONS = {HEAD: 2}  # by task, else 1
Predict = Callable[[Split], np.ndarray]


def unit_config(
  config, network: str, arm: str, fold: int, seed: int
) -> ml_collections.FrozenConfigDict:
  """Make the config of one classifier.

  Raises:
    InputError: the arm changes a key that the network does not have or, for a
      head, that no network has.
  """
  made = workdir.composed(config, f"network.{network}")
  del made.arms
  made.seed, made.data.fold = seed, fold
  parts = [made]
  if made.task == HEAD:  # it ignores keys that only others have; see `cannot`
    parts += config.network.values()
  known = sorted({key for p in parts for key in workdir.flat(p) if "." in key})
  for section, changes in config.arm[arm].changes.items():
    for key, value in changes.items():
      errors.require_known(f"key of arm {arm},", f"{section}.{key}", known)
      if key in made.get(section, {}):
        made[section][key] = value
  return ml_collections.FrozenConfigDict(made)


def cannot(config, network: str, arm: str) -> str:
  """Return why a network cannot have an arm, in words; empty if it can.

  A head ignores colour augmentation, as its features are computed once.
  """
  recipe = config.arm[arm]
  if recipe.filtered and not pretrained(config, network):
    return "the filter is pretrained on ImageNet, and the network is not"
  mixup = recipe.changes.get("augment", {}).get("mixup")
  if config.network[network].task != HEAD:
    always = config.network[network].augment.get("mixup", 0.0)
    same = always and mixup == always
    return "the arm classical already uses mixup" if same else ""
  if mixup:
    return "its features are computed once, without mixup"
  has = lambda part, section, key: key in part.get(section, {})
  for section, changes in recipe.changes.items():
    for key in changes:
      if key in ("jitter", "mixup") or has(
        config.network[network], section, key
      ):
        continue
      # What no network has is refused in `unit_config`.
      if any(has(part, section, key) for part in config.network.values()):
        return f"{section}.{key} has no effect on it"
  if 0 < recipe.pretraining < 1:
    return "it is fitted in one stage"
  if recipe.changes.get("loss", {}).get("balance") == "weights":
    return "its class weights would have the same effect as balanced batches"
  sampler = recipe.changes.get("train", {}).get("sampler")
  if recipe.added == "duplicates" and sampler == "balanced":
    return "balanced batches repeat real images already"
  return ""


def version(config) -> int:
  """Return the version of the code that trains a unit's network."""
  return _VERSIONS.get(config.task, 1)


def check(config: ml_collections.FrozenConfigDict) -> None:
  """Refuse a unit's config that cannot be trained; see loop.check."""
  if config.task == HEAD:
    sampler, balance = config.train.sampler, config.loss.balance
    errors.require_known("train.sampler", sampler, batches.SAMPLERS)
    errors.require_known("loss.balance", balance, _HEAD_BALANCES)
    classifier.require_one_balance(config)
    if not config.weight_decay > 0:
      raise errors.InputError(
        f"weight_decay={config.weight_decay}: a number above 0 is needed."
      )
    return
  if tasks.named(config.task).generates:
    raise errors.InputError(f"task={config.task} trains no classifier.")
  loop.check(config)


def steps(config) -> int:
  """Return the number of training steps of a unit."""
  return 1 if config.task == HEAD else config.train.steps


def pretrained(config, network: str) -> list[str]:
  """Return the pretrained networks that a network is trained through."""
  part = config.network[network]
  if part.task == HEAD:
    return [efficientnet.NAME]
  return trained.pretrained_networks(part)


def learn(
  config: ml_collections.FrozenConfigDict,
  dataset: datasets.Dataset,
  place: pathlib.Path,
  features: Callable[[int], head.Features],
) -> Predict:
  """Train a classifier in a directory, or load it from there.

  `features` returns the features at an input size; only a head uses it.

  Returns:
    A function from a split to probabilities [n, classes].
  """
  if config.task == HEAD:
    return head.learn(config, dataset, place, features(config.input))
  task, info = tasks.named(config.task), dataset.info
  if trained.is_trained(place, config.train.steps):
    state = trained.load_classifier(place).state
  else:
    state = parallel.local(loop.train(task, config, place, dataset).state)
  return lambda split: trained.outputs(
    task, state, split, config=config, info=info
  )["probabilities"]
