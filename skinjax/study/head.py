"""The head: logistic regression on the features of a frozen network.

It is a multinomial linear probe of EfficientNet-Lite0 (trained on ImageNet), on
images in their 8 orientations. Training takes seconds, so many arms can be
compared.
"""

import hashlib
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import flatten_util
from scipy import optimize

from skinjax.data import batches, datasets
from skinjax.data.sources import Split
from skinjax.metrics import features, pixels
from skinjax.runtime import files, progress
from skinjax.training import losses

FILE = "head.npz"
_ITERATIONS = 300
_BLOCK = 500  # images whose features are cached in one file
_ORIENTATIONS = 8


class Features:
  """Features of images, computed once and cached in a directory.

  The directory may be removed at any time.
  """

  def __init__(self, size: int, directory: pathlib.Path):
    """Load the cache; images are enlarged to `size` pixels."""
    self._extractor = features.efficientnet(size)
    self._directory = directory / self._extractor.digest[:12] / str(size)
    self._rows: dict[tuple[bytes, int], np.ndarray] = {}
    for path in sorted(self._directory.glob("*.npz")):
      kept = files.read_arrays(path, "remove it to compute them again")
      self._keep(kept["images"], kept["features"])

  def __call__(self, images: np.ndarray, orientations: int) -> np.ndarray:
    """Return float32 features [n, orientations, dims] of uint8 images.

    There are 1 or 8 orientations.
    """
    images = np.ascontiguousarray(images)
    names = [hashlib.sha256(image).digest() for image in images]
    found = [self._find(name, orientations) for name in names]
    missing = [i for i, row in enumerate(found) if row is None]
    tell = progress.logger("Features of images")
    for start in range(0, len(missing), _BLOCK):
      part = missing[start : start + _BLOCK]
      self._add([names[i] for i in part], images[part], orientations)
      tell(start + len(part), len(missing))
    found = [self._find(name, orientations) for name in names]
    return np.stack(found).astype(np.float32)

  def _add(self, names: list[bytes], images: np.ndarray, orientations: int):
    """Compute features and cache them in a new file."""
    keys = np.array([np.frombuffer(name, np.uint8) for name in names])
    made = self._computed(images, orientations)
    self._keep(keys, made)
    self._directory.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(keys).hexdigest()[:16]
    path = self._directory / f"{name}-{orientations}.npz"
    files.write_arrays(path, images=keys, features=made)

  def _find(self, name: bytes, orientations: int) -> np.ndarray | None:
    """Return an image's features [orientations, dims], or None.

    Cached features of all 8 orientations also answer for 1: the first is the
    image as it is.
    """
    for there in (orientations, _ORIENTATIONS):
      if (row := self._rows.get((name, there))) is not None:
        return row[:orientations]
    return None

  def _keep(self, names: np.ndarray, values: np.ndarray) -> None:
    for name, row in zip(names, values, strict=True):
      self._rows[name.tobytes(), len(row)] = row

  def _computed(self, images: np.ndarray, orientations: int) -> np.ndarray:
    turned = pixels.orientations(images)[:orientations]
    flat = turned.reshape(-1, *images.shape[1:])
    # float16 takes half the memory, and the network itself is no more exact.
    computed = features.extract(self._extractor, flat).astype(np.float16)
    return computed.reshape(*turned.shape[:2], -1).swapaxes(0, 1)


def learn(
  config, dataset: datasets.Dataset, place: pathlib.Path, extract: Features
) -> Callable[[Split], np.ndarray]:
  """Fit a head to a data set and save it in a directory, or load it from there.

  It uses `augment.orientations`, `train.sampler`, `loss.balance` and
  `weight_decay` of the config. Images that a sampler would draw more often have
  a larger weight in the loss; the weights sum to one.

  Returns:
    A function from a split to probabilities [n, classes], averaged over the
    orientations.
  """
  turned = _ORIENTATIONS if config.augment.orientations else 1
  path = place / FILE
  if not path.exists():
    fitted = _fitted(config, dataset, extract, turned)
    place.mkdir(parents=True, exist_ok=True)
    files.write_arrays(path, **fitted)
  fitted = files.read_arrays(path, "remove it to fit the head again")

  def predict(split: Split) -> np.ndarray:
    x = (extract(split.images, turned) - fitted["mean"]) / fitted["scale"]
    logits = x @ fitted["weights"] + fitted["bias"]
    return np.asarray(jax.nn.softmax(logits)).mean(1)

  return predict


def _fitted(config, dataset, extract, turned: int) -> dict[str, np.ndarray]:
  """Fit a head; return its arrays by name."""
  info, train = dataset.info, dataset.train
  x = extract(train.images, turned)
  mean, scale = x.mean((0, 1)), x.std((0, 1)) + 1e-6
  x = [x.reshape(-1, x.shape[-1])]
  real, added = _weights(config, dataset)
  labels = [np.repeat(train.labels, turned)]
  weights = [np.repeat(real[train.labels] / turned, turned)]
  if dataset.added:
    split = dataset.added.split
    x.append(extract(split.images, turned).reshape(-1, len(mean)))
    labels.append(np.repeat(split.labels, turned))
    weights.append(np.repeat(added[split.labels] / turned, turned))
  theta = _minimized(
    (np.concatenate(x) - mean) / scale,
    np.concatenate(labels),
    np.concatenate(weights),
    info.num_classes,
    config.weight_decay,
  )
  if config.loss.balance == "logit_adjustment":
    # A fit with the log prior added to the logits has a bias that is smaller by
    # the log prior.
    theta["bias"] -= losses.log_prior(info.class_counts)
  return {**theta, "mean": mean, "scale": scale}


def _weights(config, dataset) -> tuple[np.ndarray, np.ndarray]:
  """Compute how often a sampler would draw an image of each class, [classes].

  Returns:
    This for real and for added images, times their weight in the loss.
  """
  data = batches.on_device(
    dataset.train, dataset.info.num_classes, dataset.added
  )
  counts, share = data["counts"].astype(float), 0.0
  if more := data.get("added"):
    share = np.where(
      more["pretraining"] > 0, more["counts"] > 0, more["share"]
    ).astype(float)
  drawn = counts / np.where(share < 1, 1 - share, 1)
  drawn = drawn ** batches.SAMPLERS[config.train.sampler]
  drawn /= drawn.sum()
  if not more:
    return drawn / counts, drawn / counts
  drawn = drawn / np.asarray(batches.mean_weight(share, more["weight"]))
  each = np.maximum(more["counts"], 1)
  return drawn * (1 - share) / counts, drawn * share / each * more["weight"]


@jax.jit
def _loss(theta, factor, x, labels, weights, decay):
  """Compute the loss and its gradient, written by hand.

  This order of the products takes half the time of automatic differentiation.
  """
  matrix = _matrix(theta, factor)
  log_p = jax.nn.log_softmax(x @ matrix + theta["bias"])
  truth = jax.nn.one_hot(labels, log_p.shape[1])
  loss = decay / 2 * jnp.sum(matrix**2) - weights @ jnp.sum(log_p * truth, 1)
  error = weights[:, None] * (jnp.exp(log_p) - truth)
  gradient = (error.T @ x).T + decay * matrix
  return loss, {
    "weights": jax.scipy.linalg.solve_triangular(factor, gradient, lower=True),
    "bias": jnp.sum(error, 0),
  }


def _matrix(theta, factor):
  return jax.scipy.linalg.solve_triangular(factor.T, theta["weights"])


def _minimized(x, labels, weights, num_classes: int, decay: float):
  """Minimize the weighted mean loss by L-BFGS, starting at zero.

  It converges in half the steps in coordinates where the features are
  uncorrelated, because their covariance approximates the loss's curvature. An
  eighth of the rows is enough to estimate it: with orientations, each image
  upright.
  """
  x, weights = jnp.asarray(x, jnp.float32), jnp.asarray(weights, jnp.float32)
  part = x[::8] * jnp.sqrt(8 / num_classes * weights[::8])[:, None]
  factor = jnp.linalg.cholesky(part.T @ part + decay * jnp.eye(x.shape[1]))
  data = (factor, x, jnp.asarray(labels), weights, decay)
  start, unflatten = flatten_util.ravel_pytree(
    {
      "weights": jnp.zeros((x.shape[1], num_classes)),
      "bias": jnp.zeros(num_classes),
    }
  )

  def evaluate(flat):
    value, gradient = _loss(unflatten(jnp.float32(flat)), *data)
    gradient = flatten_util.ravel_pytree(gradient)[0]
    return float(value), np.asarray(gradient, np.float64)

  found = optimize.minimize(
    evaluate,
    np.asarray(start, np.float64),
    jac=True,
    method="L-BFGS-B",
    options={"maxiter": _ITERATIONS, "ftol": 1e-6, "gtol": 1e-5},
  )
  theta = unflatten(jnp.float32(found.x))
  matrix = _matrix(theta, factor)
  return jax.device_get({"weights": matrix, "bias": theta["bias"]})
