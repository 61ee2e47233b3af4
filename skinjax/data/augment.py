"""Augmentation on the device, with one random key per example.

Images are floats [batch, height, width, channels] in [-1, 1], keys are [batch],
and results have the shape and dtype of the images. Flips and right-angle
rotations keep a lesion's label; colour carries diagnostic meaning, so its
strength is capped by the config and nothing here changes hue.
"""

from typing import Any

import jax
import jax.numpy as jnp

from skinjax.data import batches
from skinjax.runtime import randomness

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def _by_example(values: jax.Array) -> jax.Array:
  return values[:, None, None, None]


def _uniform(
  keys: jax.Array, name: str, shape: tuple[int, ...], most: float, dtype: Any
) -> jax.Array:
  """Draw from [-most, most) for each example, [batch, *shape]."""
  draw = lambda key: jax.random.uniform(
    randomness.named(key, name), shape, dtype, -most, most
  )
  return jax.vmap(draw)(keys)


def _coins(keys: jax.Array, name: str) -> jax.Array:
  toss = lambda key: jax.random.bernoulli(randomness.named(key, name))
  return _by_example(jax.vmap(toss)(keys))


def orient(images: jax.Array, keys: jax.Array) -> jax.Array:
  """Apply a random one of 8 flips and right-angle rotations to square images.

  A transposition and two flips, each with probability 1/2, give all 8 elements
  of the square's dihedral group equal probability.
  """
  transpose, vertical, horizontal = (
    _coins(keys, name) for name in ("transpose", "vertical", "horizontal")
  )
  images = jnp.where(transpose, images.swapaxes(1, 2), images)
  images = jnp.where(vertical, images[:, ::-1], images)
  return jnp.where(horizontal, images[:, :, ::-1], images)


def colour(images: jax.Array, keys: jax.Array, strength: float) -> jax.Array:
  """Randomly change each image's brightness, contrast and saturation.

  Brightness moves by at most `strength` (half the range is 1); contrast and
  saturation are scaled by 1 - strength to 1 + strength. The result is clipped.
  """
  uniform = lambda name: _by_example(
    _uniform(keys, name, (), strength, images.dtype)
  )
  images = images + uniform("brightness")
  mean = jnp.mean(images, axis=(1, 2, 3), keepdims=True)
  images = mean + (1 + uniform("contrast")) * (images - mean)
  if images.shape[-1] == 3:
    grey = jnp.sum(images * jnp.asarray(_LUMA, images.dtype), -1, keepdims=True)
    images = grey + (1 + uniform("saturation")) * (images - grey)
  return jnp.clip(images, -1, 1)


def augment(
  images: jax.Array, keys: jax.Array, *, orientations: bool, jitter: float
) -> jax.Array:
  """Augment as a config's `augment` sets; see `orient` and `colour`."""
  if orientations:
    images = orient(images, keys)
  if jitter:
    images = colour(images, keys, jitter)
  return images


def mixup(
  images: jax.Array, keys: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
  """Mix each image with its neighbour (mixup, Zhang et al. 2018).

  Shares are drawn from Beta(alpha, alpha). The larger share goes to the image
  itself, so that its mixture keeps its label.

  Returns:
    The mixed images, and each image's own share [batch], from 1/2 to 1; the
    rest is its neighbour's (see `neighbours`).
  """
  draw = lambda key: jax.random.beta(key, alpha, alpha, dtype=images.dtype)
  share = jax.vmap(draw)(keys)
  share = jnp.maximum(share, 1 - share)
  own = _by_example(share)
  return own * images + (1 - own) * neighbours(images), share


def neighbours(x: jax.Array) -> jax.Array:
  """Swap examples 0 and 1, 2 and 3, … of an array [even batch, …].

  Neighbours are adjacent, so that dividing a batch among devices keeps them
  together.
  """
  return x.reshape(len(x) // 2, 2, *x.shape[1:])[:, ::-1].reshape(x.shape)


def all_orientations(images: jax.Array) -> jax.Array:
  """Return the 8 flips and right-angle rotations, [8, *images.shape]."""
  views = jnp.stack([images, images.swapaxes(1, 2)])
  views = jnp.concatenate([views, views[:, :, ::-1]])
  return jnp.concatenate([views, views[:, :, :, ::-1]])


def seen_in_training(
  batch: dict[str, jax.Array], keys: jax.Array, config
) -> jax.Array:
  """Return a batch's images as a network sees them in training.

  They are augmented as the config's `augment` sets, as floats in [-1, 1].
  """
  return augment(
    batches.to_float(batch["image"]),
    randomness.stream(keys, "augment"),
    orientations=config.augment.orientations,
    jitter=config.augment.jitter,
  )


def translate(images: jax.Array, keys: jax.Array) -> jax.Array:
  """Shift each square image by up to an eighth of its size along each axis.

  The border is padded with 0, the middle of the range. This is DiffAugment's
  translation (Zhao et al. 2020), differentiable in the images; images under 8
  pixels are unchanged.
  """
  size = images.shape[1]
  most = size // 8
  draw = lambda key: jax.random.randint(
    randomness.named(key, "translation"), (2,), -most, most + 1
  )
  shifts = jax.vmap(draw)(keys)
  places = jnp.arange(size)
  # Multiply by 0-1 matrices: on a CPU the gradient of indexing is much slower.
  picked = places[:, None] + shifts[..., None, None] == places
  return _resampled(images, picked.astype(images.dtype))


def affine(images: jax.Array, keys: jax.Array) -> jax.Array:
  """Shift and zoom each square image, bilinearly.

  Shifts are uniform, up to an eighth of the size along each axis; zooms about
  the centre are log-uniform, up to 15% in both directions. The result is
  differentiable in the images; images under 8 pixels are unchanged.

  The border is padded with 0, the middle of the range, as in `translate`. Its
  edge reveals the transform, so that a generator cannot pass off shifted or
  zoomed images as real ones; reflection padding would hide it.
  """
  if images.shape[1] < 8:
    return images
  shifts = _uniform(keys, "shift", (2,), 1 / 8, images.dtype)
  zooms = _uniform(keys, "zoom", (), jnp.log(1.15), images.dtype)
  return shifted_and_zoomed(images, images.shape[1] * shifts, jnp.exp(zooms))


def shifted_and_zoomed(
  images: jax.Array, shifts: jax.Array, zooms: jax.Array
) -> jax.Array:
  """Zoom square images about their centre, then shift them.

  `zooms` are [batch], above 1 to enlarge; `shifts` are pixels down and to the
  right, [batch, 2]. Values between pixels are interpolated bilinearly; the
  border is padded with 0.
  """
  places = jnp.arange(images.shape[1], dtype=images.dtype)
  centre = (images.shape[1] - 1) / 2
  moved = places - centre - shifts[..., None]  # [batch, 2, size]
  sources = moved / zooms[:, None, None] + centre
  weights = jax.nn.relu(1 - jnp.abs(sources[..., None] - places))
  return _resampled(images, weights)


def _resampled(images: jax.Array, weights: jax.Array) -> jax.Array:
  """Resample rows, then columns, with weights [batch, 2, size, size]."""
  down, right = jnp.moveaxis(weights, 1, 0)
  exact = jax.lax.Precision.HIGHEST
  images = jnp.einsum("bij,bjwc->biwc", down, images, precision=exact)
  return jnp.einsum("bij,bhjc->bhic", right, images, precision=exact)


# What a discriminator's images may go through, by its name in configs.
DISCRIMINATOR = {
  "": lambda images, keys: images,
  "translation": translate,
  "affine": affine,
}
# Upper bound of `adapted` (Karras et al. 2020): above it generated images begin
# to look augmented.
MOST_ADAPTED = 0.8


def for_discriminator(
  images: jax.Array, keys: jax.Array, config, share: jax.Array | float
) -> jax.Array:
  """Augment images, real or generated, for the discriminator.

  A `share` of them, in [0, 1], is augmented as `config`, a config's `augment`,
  sets: by the transform `discriminator`, by the 8 orientations if
  `discriminator_turns`, and by changes of brightness up to
  `discriminator_brightness`. The others are unchanged, bit for bit. There is no
  cutout and no change of colour: both leak into generated images, and colour is
  diagnostic.
  """
  seen = DISCRIMINATOR[config.discriminator](images, keys)
  if config.discriminator_turns:
    seen = orient(seen, randomness.stream(keys, "turns"))
  if most := config.discriminator_brightness:
    seen += _by_example(_uniform(keys, "brightness", (), most, images.dtype))
  if isinstance(share, float) and share == 1:
    return seen
  toss = lambda key: jax.random.uniform(randomness.named(key, "seen")) < share
  return jnp.where(_by_example(jax.vmap(toss)(keys)), seen, images)


def adapted(
  share: jax.Array, sign: jax.Array, target: float, speed: float
) -> jax.Array:
  """Move the share [] of augmented images by `speed`, up or down.

  It goes up if `sign`, the mean sign of the logits of real images, is above the
  target: then the discriminator overfits (ADA, Karras et al. 2020). It stays
  within [0, MOST_ADAPTED].
  """
  moved = share + speed * jnp.sign(sign - target)
  return jnp.clip(moved, 0, MOST_ADAPTED).astype(share.dtype)
