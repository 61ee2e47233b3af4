"""Losses, one value an example: tiny and pure.

The adversarial losses take logits (not probabilities) and have one signature,
so that a config names one. Means over the batch are the caller's.
"""

import jax
import jax.numpy as jnp
import optax


def _shapes(*logits: jax.Array) -> None:
  for x in logits:
    if x.ndim != 1:
      raise ValueError(f"Source logits have shape {x.shape}; [batch] is right.")


def non_saturating_d(real: jax.Array, fake: jax.Array) -> jax.Array:
  """Computes the discriminator's cross-entropy (Goodfellow et al. 2014).

  Args:
    real: source logits of real images [batch].
    fake: source logits of generated images [batch].

  Returns:
    -log sigmoid(real) - log(1 - sigmoid(fake)), [batch].
  """
  _shapes(real, fake)
  return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def non_saturating_g(fake: jax.Array) -> jax.Array:
  """Computes -log sigmoid(fake) [batch] (Goodfellow et al. 2014)."""
  _shapes(fake)
  return jax.nn.softplus(-fake)


def hinge_d(real: jax.Array, fake: jax.Array) -> jax.Array:
  """Computes max(0, 1 - real) + max(0, 1 + fake) [batch] (Lim, Ye 2017)."""
  _shapes(real, fake)
  return jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)


def hinge_g(fake: jax.Array) -> jax.Array:
  """Computes -fake [batch], the hinge loss's generator side."""
  _shapes(fake)
  return -fake


DISCRIMINATOR = {"non_saturating": non_saturating_d, "hinge": hinge_d}
GENERATOR = {"non_saturating": non_saturating_g, "hinge": hinge_g}


def cross_entropy(
  logits: jax.Array, labels: jax.Array, smoothing: float = 0.0
) -> jax.Array:
  """Computes the softmax cross-entropy.

  Args:
    logits: [batch, classes].
    labels: integers [batch].
    smoothing: the share of the target spread evenly over all classes
      (Szegedy et al. 2016).

  Returns:
    Nats an example, [batch].
  """
  targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
  targets = optax.smooth_labels(targets, smoothing)
  return optax.softmax_cross_entropy(logits, targets)


def inverse_frequency(counts: tuple[int, ...]) -> jax.Array:
  """Computes class weights N / (K count): their mean over examples is 1."""
  counts = jnp.asarray(counts, dtype=float)
  return jnp.sum(counts) / (len(counts) * counts)


def log_prior(counts: tuple[int, ...]) -> jax.Array:
  """Computes the log class frequencies, to be added to the logits in training.

  The logit adjustment of Menon et al. 2021: trained with them, the bare logits
  minimize the balanced error.
  """
  counts = jnp.asarray(counts, dtype=float)
  return jnp.log(counts / jnp.sum(counts))
