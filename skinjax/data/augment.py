"""Augmentation on the device, each example from a key of its own.

Images are floats [batch, height, width, channels] in [-1, 1], keys are [batch],
and what comes out has the shape and dtype of what went in. Flips and right
angles keep a lesion's label; colour carries diagnostic meaning, so its strength
is capped by the config and nothing here changes hue.
"""

import jax
import jax.numpy as jnp

from skinjax.data import batches
from skinjax.runtime import randomness

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def _by_example(values: jax.Array) -> jax.Array:
  return values[:, None, None, None]


def _coins(keys: jax.Array, name: str) -> jax.Array:
  toss = lambda key: jax.random.bernoulli(randomness.named(key, name))
  return _by_example(jax.vmap(toss)(keys))


def orient(images: jax.Array, keys: jax.Array) -> jax.Array:
  """Turn each square image into one of its 8 flips and right-angle rotations.

  A transposition and two flips, each with probability 1/2, make the dihedral
  group of the square with equal probability.
  """
  transpose, vertical, horizontal = (
    _coins(keys, name) for name in ("transpose", "vertical", "horizontal")
  )
  images = jnp.where(transpose, images.swapaxes(1, 2), images)
  images = jnp.where(vertical, images[:, ::-1], images)
  return jnp.where(horizontal, images[:, :, ::-1], images)


def colour(images: jax.Array, keys: jax.Array, strength: float) -> jax.Array:
  """Change brightness, contrast and saturation of each image, clipped.

  Brightness moves by at most `strength` (of the half range 1), and contrast and
  saturation are scaled by 1 - strength to 1 + strength.
  """

  def uniform(name):
    draw = lambda key: jax.random.uniform(
      randomness.named(key, name), (), images.dtype, -strength, strength
    )
    return _by_example(jax.vmap(draw)(keys))

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
  """Apply what a config's `augment` asks for; see `orient` and `colour`."""
  if orientations:
    images = orient(images, keys)
  if jitter:
    images = colour(images, keys, jitter)
  return images


def mixup(
  images: jax.Array, keys: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
  """Mix each image with its neighbour's (Zhang et al. 2018, mixup).

  An image has the greater share in what takes its place, so that this keeps its
  label; shares are drawn from Beta(alpha, alpha).

  Returns:
    The mixed images, and the share [batch], from 1/2 to 1, of each image's own;
    what remains is that of its neighbour (see `neighbours`).
  """
  draw = lambda key: jax.random.beta(key, alpha, alpha, dtype=images.dtype)
  share = jax.vmap(draw)(keys)
  share = jnp.maximum(share, 1 - share)
  own = _by_example(share)
  return own * images + (1 - own) * neighbours(images), share


def neighbours(x: jax.Array) -> jax.Array:
  """Swap examples 0 and 1, 2 and 3, … of an array [even batch, …].

  They follow each other, so that devices that share a batch do not part them.
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
  """Return a batch's images as a network in training sees them.

  Augmented as the config's `augment` asks, floats in [-1, 1] of uint8.
  """
  return augment(
    batches.to_float(batch["image"]),
    randomness.stream(keys, "augment"),
    orientations=config.augment.orientations,
    jitter=config.augment.jitter,
  )


def translate(images: jax.Array, keys: jax.Array) -> jax.Array:
  """Shift each square image, by up to an eighth of its size along each axis.

  What comes in from outside is 0, the middle of the range. The translation of
  DiffAugment (Zhao et al. 2020), differentiable in the images; those under 8
  pixels stay as they are.
  """
  size = images.shape[1]
  most = size // 8
  draw = lambda key: jax.random.randint(
    randomness.named(key, "translation"), (2,), -most, most + 1
  )
  shifts = jax.vmap(draw)(keys)
  places = jnp.arange(size)
  # Products with rows of at most one 1: on a CPU the gradient of indexing is
  # much slower.
  picked = places[:, None] + shifts[..., None, None] == places
  return _resampled(images, picked.astype(images.dtype))


def affine(images: jax.Array, keys: jax.Array) -> jax.Array:
  """Shift and zoom each square image, bilinearly.

  Shifts are uniform, up to an eighth of the size along each axis, zooms about
  the centre log-uniform, up to 15% in both directions. Differentiable in the
  images; those under 8 pixels stay as they are.

  What comes in from outside is 0, the middle of the range, as of `translate`.
  Its edge shows what was done, so that a generator cannot pass shifted or
  zoomed images off as real ones; reflections would hide it.
  """
  if images.shape[1] < 8:
    return images
  uniform = lambda key, name, shape, most: jax.random.uniform(
    randomness.named(key, name), shape, images.dtype, -most, most
  )
  shifts = jax.vmap(lambda key: uniform(key, "shift", (2,), 1 / 8))(keys)
  zooms = jax.vmap(lambda key: uniform(key, "zoom", (), jnp.log(1.15)))(keys)
  return shifted_and_zoomed(images, images.shape[1] * shifts, jnp.exp(zooms))


def shifted_and_zoomed(
  images: jax.Array, shifts: jax.Array, zooms: jax.Array
) -> jax.Array:
  """Enlarge square images about their centre, then move them.

  `zooms` are [batch], from 1 on larger; `shifts` are pixels down and to the
  right, [batch, 2]. What is between pixels is bilinear, what is outside 0.
  """
  places = jnp.arange(images.shape[1], dtype=images.dtype)
  centre = (images.shape[1] - 1) / 2
  moved = places - centre - shifts[..., None]  # [batch, 2, size]
  sources = moved / zooms[:, None, None] + centre
  weights = jax.nn.relu(1 - jnp.abs(sources[..., None] - places))
  return _resampled(images, weights)


def _resampled(images: jax.Array, weights: jax.Array) -> jax.Array:
  """Weigh each image's rows, then columns, by [batch, 2, size, size]."""
  down, right = jnp.moveaxis(weights, 1, 0)
  exact = jax.lax.Precision.HIGHEST
  images = jnp.einsum("bij,bjwc->biwc", down, images, precision=exact)
  return jnp.einsum("bij,bhjc->bhic", right, images, precision=exact)


# By name in configs: what all images go through before a discriminator.
DISCRIMINATOR = {
  "": lambda images, keys: images,
  "translation": translate,
  "affine": affine,
}
# The most that `adapted` may say (Karras et al. 2020): from there on generated
# images begin to look augmented.
MOST_ADAPTED = 0.8


def for_discriminator(
  images: jax.Array, keys: jax.Array, config, share: jax.Array | float
) -> jax.Array:
  """Show images, real or generated, as a discriminator sees them.

  A `share` of them, in [0, 1], goes through what the config's `augment`
  names: the transform `discriminator`, the 8 orientations with
  `discriminator_turns`, a brightness moved by at most
  `discriminator_brightness`. The others stay as they are, bit for bit. Without
  cutout and colour, which leak into generated images, and colour is diagnostic.
  """
  seen = DISCRIMINATOR[config.discriminator](images, keys)
  if config.discriminator_turns:
    seen = orient(seen, randomness.stream(keys, "turns"))
  if most := config.discriminator_brightness:
    draw = lambda key: jax.random.uniform(
      randomness.named(key, "brightness"), (), images.dtype, -most, most
    )
    seen += _by_example(jax.vmap(draw)(keys))
  if isinstance(share, float) and share == 1:
    return seen
  toss = lambda key: jax.random.uniform(randomness.named(key, "seen")) < share
  return jnp.where(_by_example(jax.vmap(toss)(keys)), seen, images)


def adapted(
  share: jax.Array, sign: jax.Array, target: float, speed: float
) -> jax.Array:
  """Move the share [] of augmented images by `speed`, up or down.

  Up where `sign`, the mean sign of the logits of real images, is over the
  target: the discriminator overfits (ADA, Karras et al. 2020). It stays within
  [0, MOST_ADAPTED].
  """
  moved = share + speed * jnp.sign(sign - target)
  return jnp.clip(moved, 0, MOST_ADAPTED).astype(share.dtype)
