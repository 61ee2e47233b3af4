"""Features of images, for Fréchet and kernel distances between sets of them.

Distances compare only where the features are of one extractor, one input size
and one way of resizing; so they carry the extractor's name, "EffLite0@64".
"""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skinjax.data import datasets
from skinjax.models import efficientnet as efficientnets
from skinjax.models import inception as inceptions
from skinjax.runtime import array_cache, errors
from skinjax.training import trained

# Of how features are computed: with another one, what is cached is void.
_VERSION = 1
_FID = "Inception@299"
_SHOWN = {"ham10000": "lesions"}  # what a data set shows, if not its name


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
  """A network that makes features of images.

  Attributes:
    name: the network and its input size, as in "EffLite0@64".
    size: height and width that images are resized to.
    channels: that it takes, 1 or 3.
    dims: features of an image.
    apply: pure, maps variables and images float32 [batch, size, size,
      channels] in [0, 255] to features [batch, dims].
    variables: its weights, in the host's memory.
    digest: of all that decides the features besides the name.
  """

  name: str
  size: int
  channels: int
  dims: int
  apply: Callable[[Any, jax.Array], jax.Array]
  variables: Any
  digest: str

  @property
  def frechet_name(self) -> str:
    """Returns what a Fréchet distance of its features is called.

    FID is the name of Inception's at 299 pixels alone (Heusel et al. 2017).
    """
    return "FID" if self.name == _FID else f"FD({self.name})"


def efficientnet(size: int = 64) -> Extractor:
  """Loads EfficientNet-Lite0, trained on ImageNet: it is there offline.

  Args:
    size: of its input, 32 or more; 224 is what it was trained on.

  Returns:
    The extractor "EffLite0@SIZE".

  Raises:
    InputError: the package with its weights is not installed, or the size is
      too small.
  """
  return _pretrained("EffLite0", size, 32, efficientnets, _efficientnet)


def inception(path: str | pathlib.Path, size: int = 299) -> Extractor:
  """Loads the Inception-v3 of the Fréchet inception distance.

  Args:
    path: of pt_inception-2015-12-05-6726825d.pth.
    size: of its input, 75 or more; FID is of 299.

  Returns:
    The extractor "Inception@SIZE".

  Raises:
    InputError: it is no file of this network, or the size is too small.
  """
  return _pretrained("Inception", size, 75, inceptions, _inception, path)


def classifier(path: str | pathlib.Path, info: datasets.DataInfo) -> Extractor:
  """Loads a classifier that this project has trained.

  Features that know the classes see differences that ImageNet's do not. Those
  of images that it was trained on are other than those of new ones: compare
  with a classifier that has seen neither set.

  Args:
    path: its workdir.
    info: the data that it was trained for; decides the size and channels.

  Returns:
    The extractor "lesions@SIZE"; of another data set than HAM10000 "NAME@SIZE".

  Raises:
    InputError: it is no workdir of a classifier of this data.
  """
  network = trained.load(path)
  trained.require_for(network, info)
  if not network.task.features:
    raise errors.InputError(
      f"{path} is the workdir of task={network.config.task}, which has no "
      "features to compare: give one of task=classifier."
    )
  features = functools.partial(
    network.task.features, config=network.config, info=info
  )
  apply = lambda variables, images: features(variables, images / 127.5 - 1)
  variables = jax.device_get(network.state.average)
  shape = (1, info.size, info.size, info.channels)
  images = jax.ShapeDtypeStruct(shape, jnp.float32)
  return Extractor(
    name=f"{_SHOWN.get(info.name, info.name)}@{info.size}",
    size=info.size,
    channels=info.channels,
    dims=jax.eval_shape(apply, variables, images).shape[1],
    apply=apply,
    variables=variables,
    digest=f"{network.digest} {network.config.model.dtype}",
  )


def extract(
  extractor: Extractor,
  images: np.ndarray,
  *,
  batch_size: int = 32,
  cache_dir: str | pathlib.Path | None = None,
  progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
  """Computes features; how many at a time changes nothing but rounding.

  Images are resized by antialiased bicubic interpolation and clipped, without
  rounding, as Parmar et al. 2022 (clean-fid) advise; those of the extractor's
  size stay as they are. FID as first published resized bilinearly and without
  antialiasing: its numbers differ where images are of another size than 299.

  Args:
    extractor: what computes them.
    images: uint8 [n, height, width, channels] in [0, 255]; 1 or 3 channels.
      One is repeated where the extractor takes 3.
    batch_size: images at a time; more than 32 take longer on a CPU.
    cache_dir: where features are kept, by the images' content and the
      extractor's; None for nowhere.
    progress: is told how many images are done, and of how many.

  Returns:
    float32 [n, dims].

  Raises:
    InputError: the images are of another type or shape, or the directory
      cannot be written in.
  """
  images = np.ascontiguousarray(images)
  _require_images(images, extractor)
  if batch_size < 1:
    raise errors.InputError(f"A batch of {batch_size} images: use 1 or more.")
  compute = lambda: _computed(extractor, images, batch_size, progress)
  if cache_dir is None:
    return compute()
  shape = (len(images), extractor.dims)
  return array_cache.fetch(cache_dir, _key(extractor, images), shape, compute)


def _pretrained(name, size, least, module, apply, *path) -> Extractor:
  if size < least:
    raise errors.InputError(f"An input size of {size}: use {least} or more.")
  variables = module.load(*path)
  return Extractor(
    name=f"{name}@{size}",
    size=size,
    channels=3,
    dims=module.DIMS,
    apply=apply,
    variables=variables,
    digest=trained.digest(variables),
  )


def _efficientnet(variables, images):
  network = efficientnets.EfficientNet()
  return network.apply(variables, (images - 127) / 128)[0]


def _inception(variables, images):
  return inceptions.Inception().apply(variables, images / 127.5 - 1)


def _require_images(images: np.ndarray, extractor: Extractor) -> None:
  if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape[1:]:
    raise errors.InputError(
      "Features are of images uint8 [n, height, width, channels] in [0, 255], "
      f"not of {images.dtype} {list(images.shape)}."
    )
  if images.shape[3] not in (1, extractor.channels):
    raise errors.InputError(
      f"{extractor.name} takes images of {extractor.channels} channels, not "
      f"of {images.shape[3]}."
    )


@functools.partial(jax.jit, static_argnames=("apply", "size", "channels"))
def _batch(variables, images, *, apply, size, channels):
  images = jnp.repeat(images, channels // images.shape[3], axis=3)
  images = images.astype(jnp.float32)
  if images.shape[1:3] != (size, size):
    shape = (len(images), size, size, channels)
    images = jax.image.resize(images, shape, "bicubic", antialias=True)
    images = jnp.clip(images, 0, 255)
  # Else a GPU or TPU rounds the factors of its products: other distances.
  with jax.default_matmul_precision("float32"):
    return apply(variables, images)


def _computed(extractor, images, batch_size, progress):
  features = np.empty((len(images), extractor.dims), np.float32)
  variables = jax.device_put(extractor.variables)
  for start in range(0, len(images), batch_size):
    part = images[start : start + batch_size]
    # Every batch is whole, so that one program does.
    padding = ((0, batch_size - len(part)), (0, 0), (0, 0), (0, 0))
    features[start : start + len(part)] = _batch(
      variables,
      np.pad(part, padding),
      apply=extractor.apply,
      size=extractor.size,
      channels=extractor.channels,
    )[: len(part)]
    if progress:
      progress(start + len(part), len(images))
  return features


def _key(extractor: Extractor, images: np.ndarray) -> str:
  """Computes the SHA-256 of all that the features follow from, in hex."""
  what = (_VERSION, images.shape, extractor.name, extractor.digest)
  digest = hashlib.sha256(repr(what).encode())
  digest.update(images)
  return digest.hexdigest()
