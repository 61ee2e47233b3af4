"""Trained generators: one network for all classes, or one per class."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from skinjax.data import provenance
from skinjax.runtime import errors, randomness, workdir
from skinjax.training import released, trained


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
  """Generates images by class; it needs neither flags nor the data set.

  `path` is its workdir; `networks` is one network for all classes, or one per
  class; `origin` records what they were trained on (see data/provenance.py).
  """

  path: pathlib.Path
  class_names: tuple[str, ...]
  networks: tuple[trained.Trained, ...]
  origin: Mapping[str, Any]

  @property
  def by_class(self) -> bool:
    """Return whether each class has a network of its own."""
    return len(self.networks) > 1 or len(self.networks[0].info.class_names) < (
      len(self.class_names)
    )

  @property
  def title(self) -> str:
    """Return its name in reports."""
    title = self.networks[0].task.title
    return f"By-class {title}" if self.by_class else title

  @property
  def info(self):
    """Return the networks' datasets.DataInfo, with the names of all classes."""
    return dataclasses.replace(
      self.networks[0].info,
      class_names=self.class_names,
      fingerprint=self.origin["fingerprint"],
    )

  @property
  def step(self) -> int:
    """Return the smallest number of training steps of its networks."""
    return min(network.step for network in self.networks)

  @property
  def digest(self) -> str:
    """Return the SHA-256 of all weights, in hex."""
    if not self.by_class:
      return self.networks[0].digest
    digests = "".join(network.digest for network in self.networks)
    return hashlib.sha256(digests.encode()).hexdigest()

  def sample(
    self,
    labels: Sequence[int | str],
    seed: int = 0,
    truncation: float = 0.0,
  ) -> np.ndarray:
    """Generate one image for each label, a class's number or name.

    The same seed and labels give the same images, and more labels do not change
    the first images. `truncation` is as in trained.samples.

    Returns:
      uint8 [images, size, size, channels].

    Raises:
      InputError: a label is no class.
    """
    if isinstance(labels, str):
      raise errors.InputError(
        f"sample takes several labels: for one image, [{labels!r}]."
      )
    return self.sample_by_key(
      [self._number(label) for label in labels],
      synthesis_key(seed),
      truncation,
    )

  def sample_by_key(
    self, labels: Sequence[int], key: jax.Array, truncation: float = 0.0
  ) -> np.ndarray:
    """Generate as `sample`, from a JAX key and numeric labels."""
    labels = np.asarray(labels, np.int32)
    if not self.by_class:
      return _sample(self.networks[0], labels, key, truncation)
    info = self.networks[0].info
    images = np.empty(
      (len(labels), info.size, info.size, info.channels), np.uint8
    )
    for label, name in enumerate(self.class_names):
      mine = np.flatnonzero(labels == label)
      if mine.size:
        images[mine] = _sample(
          self.networks[label],
          np.zeros(len(mine), np.int32),
          randomness.named(key, name),
          truncation,
        )
    return images

  def draw(self, latents: np.ndarray, label: int) -> np.ndarray:
    """Generate uint8 images of one class from latents [images, num_latents]."""
    network = self.networks[label if self.by_class else 0]
    return trained.draw(
      network.task,
      network.state,
      latents,
      np.full(len(latents), 0 if self.by_class else label, np.int32),
      config=network.config,
      info=network.info,
    )

  @property
  def num_latents(self) -> int:
    """Return the dimension of the latents."""
    return self.networks[0].config.model.latents

  def _number(self, label: int | str) -> int:
    if isinstance(label, str):
      errors.require_known("class", label, self.class_names)
      return self.class_names.index(label)
    if not 0 <= label < len(self.class_names):
      raise errors.InputError(
        f"There is no label {label}: they are 0 to "
        f"{len(self.class_names) - 1}, of {', '.join(self.class_names)}."
      )
    return int(label)


def synthesis_key(seed: int) -> jax.Array:
  """Return the key of the latents of a synthetic set."""
  return randomness.named(jax.random.key(seed), "synthesize")


def _sample(network: trained.Trained, labels, key, truncation) -> np.ndarray:
  return trained.samples(
    network.task,
    network.state,
    labels,
    key,
    config=network.config,
    info=network.info,
    truncation=truncation,
  )


def load(path: str | pathlib.Path, which: str = "latest") -> Generator:
  """Load a generator from a workdir of a GAN or of configs/by_class.py.

  A released one is loaded by its name; see training/released.py.

  Raises:
    InputError: the path is empty, no generator was trained there, or there is
      no such checkpoint.
  """
  if not str(path):
    raise errors.InputError(
      "config.generator is empty: name the workdir of a trained GAN."
    )
  path = released.located(path)
  if (
    released.is_member(path)
    or workdir.read_config(path).get("task") != "by_class"
  ):
    network = trained.load_generator(path, which)
    names = network.info.class_names
    return Generator(path, names, (network,), network.origin)
  origin = provenance.read_origin(path)
  names = tuple(origin["class_names"])
  networks = tuple(trained.load_generator(path / n, which) for n in names)
  learnt = {
    key: sorted({x for n in networks for x in n.origin.get(key, [])})
    for key in ("groups", "pretrained")
  }
  return Generator(path, names, networks, origin | learnt)
