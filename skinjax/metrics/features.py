"""Features of images, for Fréchet and kernel distances between sets of them.

Distances are comparable only for the same extractor, input size and resizing,
so each is reported with the extractor's name, such as "EffLite0@64".
"""

import dataclasses
import functools
import hashlib
import io
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from skinjax.models import efficientnet as efficientnets
from skinjax.models import inception as inceptions
from skinjax.models import squeezenet as squeezenets
from skinjax.runtime import checkpoint, errors, files

# Version of how features are computed; a change invalidates the cache.
_VERSION = 1
_PRETRAINED = {
  "EffLite0": efficientnets.NAME,
  "SqueezeNet": squeezenets.NAME,
  "Inception": "Inception-v3",
}
_FID = "Inception@299"
_DIGEST_BYTES = 32
_LEAST_SIZE = 32  # pixels, of EfficientNet-Lite0 and SqueezeNet


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
  """A network that computes features of images."""

  name: str  # the network and its input size, as in "EffLite0@64"
  size: int  # height and width that images are resized to
  channels: int  # of the images that it takes, 1 or 3
  dims: int  # features of an image
  # Pure: maps variables and images float32 [batch, size, size, channels] in
  # [0, 255] to features [batch, dims].
  apply: Callable[[Any, jax.Array], jax.Array]
  variables: Any  # its weights, in host memory
  digest: str  # of everything but the name that determines the features
  pretrained: str = ""  # the network whose published weights it uses

  @property
  def frechet_name(self) -> str:
    """Return the name of the Fréchet distance of its features.

    FID is only that of Inception at 299 pixels (Heusel et al. 2017).
    """
    return "FID" if self.name == _FID else f"FD({self.name})"


def efficientnet(size: int = 64) -> Extractor:
  """Load EfficientNet-Lite0, trained on ImageNet at 224 pixels.

  Raises:
    InputError: the package with its weights is not installed, or the size is
      under 32.
  """
  return _pretrained(
    "EffLite0", size, _LEAST_SIZE, efficientnets, _efficientnet
  )


def squeezenet(size: int = 96) -> Extractor:
  """Load SqueezeNet 1.1, trained on ImageNet at 227 pixels.

  Its features are not normalized: their kernel distances are hundreds of times
  those of EfficientNet-Lite0's.

  Raises:
    InputError: the package with its weights is not installed, or the size is
      under 32.
  """
  return _pretrained("SqueezeNet", size, _LEAST_SIZE, squeezenets, _squeezenet)


def inception(path: str | pathlib.Path, size: int = 299) -> Extractor:
  """Load the Inception-v3 of FID from pt_inception-2015-12-05-6726825d.pth.

  Raises:
    InputError: the file is not of this network, or the size is under 75.
  """
  return _pretrained("Inception", size, 75, inceptions, _inception, path)


def extract(
  extractor: Extractor,
  images: np.ndarray,
  *,
  batch_size: int = 32,
  cache_dir: str | pathlib.Path | None = None,
  progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
  """Compute features of images.

  Images are resized by antialiased bicubic interpolation and clipped, without
  rounding, as Parmar et al. 2022 (clean-fid) advise; FID as first published
  resized bilinearly and without antialiasing.

  Args:
    extractor: the network.
    images: uint8 [n, height, width, channels] in [0, 255]; 1 or 3 channels. A
      single channel is repeated if the extractor takes 3.
    batch_size: images at a time; it affects rounding only. More than 32 take
      longer on a CPU.
    cache_dir: the cache, if writable, keyed by the content of images and
      extractor. It may be removed at any time.
    progress: called with the number of images done, and of all images.

  Returns:
    float32 [n, dims].

  Raises:
    InputError: the images have another number of channels.
  """
  images = np.ascontiguousarray(images)
  if images.shape[3] not in (1, extractor.channels):
    raise errors.InputError(
      f"{extractor.name} takes images of {extractor.channels} channels, not "
      f"of {images.shape[3]}."
    )
  path = None
  if cache_dir is not None:
    path = pathlib.Path(cache_dir) / f"{_key(extractor, images)}.npy"
    if (kept := _read(path, (len(images), extractor.dims))) is not None:
      return kept
  computed = _computed(extractor, images, batch_size, progress)
  if path:
    _keep(path, computed)
  return computed


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
    digest=checkpoint.digest(variables),
    pretrained=_PRETRAINED[name],
  )


def _efficientnet(variables, images):
  network = efficientnets.EfficientNet()
  return network.apply(variables, (images - 127) / 128)[0]


def _squeezenet(variables, images):
  blue_first = images[..., ::-1] - jnp.array(squeezenets.MEAN_BGR)
  return squeezenets.SqueezeNet().apply(variables, blue_first)[0]


def _inception(variables, images):
  return inceptions.Inception().apply(variables, images / 127.5 - 1)


@functools.partial(jax.jit, static_argnames=("apply", "size", "channels"))
def _batch(variables, images, *, apply, size, channels):
  images = jnp.repeat(images, channels // images.shape[3], axis=3)
  images = images.astype(jnp.float32)
  if images.shape[1:3] != (size, size):
    shape = (len(images), size, size, channels)
    images = jax.image.resize(images, shape, "bicubic", antialias=True)
    images = jnp.clip(images, 0, 255)
  # Else GPUs and TPUs use lower precision, which changes distances.
  with jax.default_matmul_precision("float32"):
    return apply(variables, images)


def _computed(extractor, images, batch_size, progress):
  features = np.empty((len(images), extractor.dims), np.float32)
  variables = jax.device_put(extractor.variables)
  for start in range(0, len(images), batch_size):
    part = images[start : start + batch_size]
    # Pad the last batch, so that one compiled program is enough.
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
  """Compute the SHA-256 of everything the features depend on, in hex."""
  what = (_VERSION, images.shape, extractor.name, extractor.digest)
  digest = hashlib.sha256(repr(what).encode())
  digest.update(images)
  return digest.hexdigest()


def _keep(path: pathlib.Path, features: np.ndarray) -> None:
  """Write a .npy file that ends with its SHA-256, which np.load ignores."""
  buffer = io.BytesIO()
  np.save(buffer, features, allow_pickle=False)
  content = buffer.getvalue()
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, content + hashlib.sha256(content).digest())
  except OSError as error:
    _warn_once(path.parent, str(error))


@functools.cache
def _warn_once(directory: pathlib.Path, error: str) -> None:
  logging.warning(
    "Features cannot be cached in %s, and are recomputed each time (%s): set "
    "XDG_CACHE_HOME to a directory that is writable.",
    directory,
    error,
  )


def _read(path: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray | None:
  """Read a file of `_keep`; None if it does not exist or is damaged."""
  try:
    content = path.read_bytes()
  except OSError:  # no such file, or no such directory: `_keep` warns
    return None
  content, digest_read = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
  try:
    if hashlib.sha256(content).digest() != digest_read:
      raise ValueError("its SHA-256 differs")
    features = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    if features.dtype != np.float32 or features.shape != shape:
      raise ValueError(f"it has {features.dtype} {list(features.shape)}")
  except Exception as error:  # whatever the reader raises for a forged file
    logging.warning("%s is damaged (%s): it is recomputed.", path, error)
    return None
  return features
