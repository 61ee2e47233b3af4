"""Losses, pure functions that return one value per example, and class priors.

The adversarial losses take logits (not probabilities) and share one signature,
so that a config can name one; they are elementwise, for logits [batch] or
[batch, heads]. A `critic` maps images [batch, …] to source logits [batch]. The
caller takes means over the batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

_relu, _softplus = jax.nn.relu, jax.nn.softplus


class Adversarial(NamedTuple):
  """An adversarial loss: both sides map source logits to losses."""

  # discriminator(real, fake).
  discriminator: Callable[[jax.Array, jax.Array], jax.Array]
  # generator(real, fake), where logits are those of the updated discriminator;
  # `real` is None unless the loss is relativistic.
  generator: Callable[[jax.Array | None, jax.Array], jax.Array]
  # Whether the generator's side compares with real images, which takes another
  # pass of the discriminator over them.
  relativistic: bool = False


ADVERSARIAL = {
  # Goodfellow et al. 2014: -log sigmoid(D(x)) - log(1 - sigmoid(D(G))), and
  # -log sigmoid(D(G)).
  "non_saturating": Adversarial(
    discriminator=lambda real, fake: _softplus(-real) + _softplus(fake),
    generator=lambda real, fake: _softplus(-fake),
  ),
  # Lim and Ye 2017.
  "hinge": Adversarial(
    discriminator=lambda real, fake: _relu(1 - real) + _relu(1 + fake),
    generator=lambda real, fake: -fake,
  ),
  # Arjovsky et al. 2017.
  "wasserstein": Adversarial(
    discriminator=lambda real, fake: fake - real,
    generator=lambda real, fake: -fake,
  ),
  # RpGAN, Jolicoeur-Martineau 2019, as in R3GAN, Huang et al. 2024: each real
  # image is compared with one generated image.
  "relativistic": Adversarial(
    discriminator=lambda real, fake: _softplus(-(real - fake)),
    generator=lambda real, fake: _softplus(-(fake - real)),
    relativistic=True,
  ),
}


# Losses for which a logit above 0 means real.
CENTRED = ("non_saturating", "hinge")


def squared_gradient(
  critic: Callable[[jax.Array], jax.Array], images: jax.Array
) -> jax.Array:
  """Compute the squared norm [batch] of a critic's gradient at each image.

  If a logit also depends on other images, as with minibatch deviation, this is
  the gradient of the logits' sum.
  """
  gradient = jax.grad(lambda x: jnp.sum(critic(x)))(images)
  return jnp.sum(gradient**2, axis=tuple(range(1, images.ndim)))


def gradient_penalty(squared: jax.Array) -> jax.Array:
  """Compute (norm - 1)^2 [batch] (Gulrajani et al. 2017).

  `squared` is `squared_gradient` at images between real and generated ones.
  """
  # The root has no gradient at 0, which is the value for constant logits.
  return (jnp.sqrt(squared + 1e-12) - 1) ** 2


def between(real: jax.Array, fake: jax.Array, shares: jax.Array) -> jax.Array:
  """Mix images [batch, …] with shares [batch], in [0, 1], of the fake ones."""
  shares = shares.reshape(-1, *(1,) * (real.ndim - 1))
  return real + shares * (fake - real)


def r1_penalty(squared: jax.Array) -> jax.Array:
  """Compute norm^2 / 2 [batch] at real images (Mescheder et al. 2018)."""
  return squared / 2


# What loss.penalty may be; see `penalty`.
PENALTIES = ("none", "gradient", "r1")


def penalty(
  name: str,
  critic: Callable[[jax.Array], jax.Array],
  real: jax.Array,
  fake: jax.Array,
  shares: jax.Array,
) -> jax.Array:
  """Compute the penalty on a critic's gradient, [batch].

  `name` is `gradient` (WGAN-GP's, at images mixed by `between`), `r1`, or
  `none`, which is 0.
  """
  if name == "gradient":
    mixed = between(real, fake, shares)
    return gradient_penalty(squared_gradient(critic, mixed))
  if name == "r1":
    return r1_penalty(squared_gradient(critic, real))
  return jnp.zeros(len(real), real.dtype)


# Decay per step of LeCam's moving averages.
LECAM_DECAY = 0.99


def lecam(
  real: jax.Array,
  fake: jax.Array,
  average_real: jax.Array,
  average_fake: jax.Array,
) -> jax.Array:
  """Compute LeCam's regularizer (Tseng et al. 2021), shaped as the logits.

  Real logits are penalized above the moving average [] of generated ones, and
  generated logits below that of real ones, so that the two do not drift apart
  without limit.
  """
  over, under = _relu(real - average_fake), _relu(average_real - fake)
  return over**2 + under**2


CLASS_LOSSES = ("cross_entropy", "d2d_ce")


def d2d_cross_entropy(
  cosines: jax.Array,
  labels: jax.Array,
  features: jax.Array,
  others: jax.Array,
  labels_of_others: jax.Array,
  *,
  margin: float,
  temperature: float,
) -> jax.Array:
  """Compute the data-to-data cross-entropy (ReACGAN, Kang et al. 2021).

  An image is pulled towards the proxy of its class until their cosine is
  `margin`, and pushed away from images of other classes until their cosines are
  1 - `margin`. Cosines beyond these limits are not pushed or pulled further.

  Args:
    cosines: of unit-norm features and the classes' proxies, [batch, classes].
    labels: integers [batch].
    features: of unit norm, [batch, dims].
    others: the features of the whole batch, [others, dims].
    labels_of_others: integers [others].
    margin: in [0, 1], the paper's 1 - m_n and m_p.
    temperature: divisor of the differences.

  Returns:
    [batch]; 0 if the batch has no other class.
  """
  own = jnp.take_along_axis(cosines, labels[:, None], axis=-1)[:, 0]
  pull = _relu(margin - own) / temperature
  push = _relu(features @ others.T + margin - 1) / temperature
  differ = labels[:, None] != labels_of_others
  pushes = jax.nn.logsumexp(jnp.where(differ, push, -jnp.inf), axis=-1)
  return pull + jnp.logaddexp(-pull, pushes)


def cross_entropy(
  logits: jax.Array, labels: jax.Array, smoothing: float = 0.0
) -> jax.Array:
  """Compute the softmax cross-entropy in nats, [batch].

  Logits are [batch, classes], labels integers [batch]; `smoothing` is the share
  of the target spread evenly over all classes (Szegedy et al. 2016).
  """
  targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
  targets = optax.smooth_labels(targets, smoothing)
  return optax.softmax_cross_entropy(logits, targets)


def inverse_frequency(counts: tuple[int, ...]) -> jax.Array:
  """Compute class weights N / (K count): their mean over examples is 1."""
  counts = jnp.asarray(counts, dtype=float)
  return jnp.sum(counts) / (len(counts) * counts)


def log_prior(counts: tuple[int, ...]) -> jax.Array:
  """Compute the log class frequencies, to be added to the logits in training.

  Trained with them, the logits without them minimize the balanced error (logit
  adjustment, Menon et al. 2021).
  """
  counts = jnp.asarray(counts, dtype=float)
  return jnp.log(counts / jnp.sum(counts))
