"""skinjax's training steps, as in training, for timing."""

import functools
import math
import os
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import flops, worker, workload
from skinjax.data import batches, datasets, sources
from skinjax.models import layers
from skinjax.runtime import parallel, randomness
from skinjax.training import loop, tasks


def configure() -> None:
  """Configure the whole process as main.py does."""
  parallel.keep_compiled(os.path.join(sources.cache_dir(), "compiled"))


def _drawn(config, key, batch_size):
  """Sample what train_step samples from its key, in the same way."""
  keys, drawn = randomness.by_example(key, batch_size), {}
  stream = lambda name: randomness.stream(keys, name)
  if "latents" in config.model:
    shape = (config.model.latents,)
    drawn["latents"] = randomness.normal(stream("latents"), shape)
  if config.get("loss", {}).get("penalty", "none") != "none":
    drawn["shares"] = jax.vmap(jax.random.uniform)(stream("between"))
  return jax.tree.map(np.asarray, drawn)


def made_up(size: int, count: int | None = None) -> datasets.Dataset:
  """Return a data set of random images, all in the training split."""
  images, labels = workload.examples(size, *[count] * bool(count))
  ids = np.arange(len(labels)).astype(str)
  split = datasets.Split(images, labels, ids, ids)
  info = datasets.DataInfo(
    name="made up",
    size=size,
    channels=workload.CHANNELS,
    class_names=tuple(map(str, range(workload.CLASSES))),
    class_counts=tuple(np.bincount(labels, minlength=workload.CLASSES)),
    drawn=True,
    stored=size,
    collapse=0.5,
    groups_known=True,
    fingerprint="",
  )
  nothing = split.take(slice(0))
  return datasets.Dataset(info, split, nothing, nothing)


class Steps:
  """Training steps of one model, served by a worker process.

  Args:
    config: the model's config; one call takes `log_every` steps.
    size: height and width of the images.
    phase: index of the training phase; -1 is the last.
  """

  def __init__(self, config, size: int, phase: int = -1):
    self._info, self._split, *_ = made_up(size)
    self._config, self._number = config, phase
    self._task = tasks.named(config.task)
    self._given = self._task.frozen(config)
    self._frozen = parallel.place(self._given, config.parallel)
    self._key = jax.random.key(config.seed)
    self._data = parallel.place(
      batches.on_device(self._split, workload.CLASSES), config.parallel
    )
    jax.block_until_ready(self._data)
    self._before = worker.peak_mib()
    self._state = self._run = None

  def _initial(self, config):
    key = randomness.named(self._key, "init")
    init = functools.partial(self._task.init_state, config, self._info, key)
    pretrained = self._task.pretrained(config)
    return parallel.create(init, config.parallel, pretrained)

  def _phase(self, config):
    return self._task.phases(config)[self._number]

  def build(self) -> float:
    """Compile the steps; return the seconds of compilation and first run."""
    self._prepare()
    return self.run()

  def _prepare(self):
    self._state = self._initial(self._config)
    phase = self._phase(self._config)
    self._run = loop.compile_steps(self._task, self._config, self._info, phase)

  def build_ahead(self) -> dict[str, float]:
    """Compile the steps without running them, on one device.

    Returns:
      The `seconds` of tracing and compiling, and the `mib` of memory that the
      program needs while it runs.
    """
    self._prepare()
    start = time.perf_counter()
    self._run = self._run.lower(*self._arguments()).compile()
    seconds = time.perf_counter() - start
    held, memory = math.nan, self._run.memory_analysis()
    if memory is not None:  # XLA may not report it
      held = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
      )
    return {"seconds": seconds, "mib": held / 2**20}

  def build_many(self, count: int) -> float:
    """Compile `count` training runs of different seeds as one program."""
    self._prepare()
    state, *shared, key = self._arguments()
    states = jax.tree.map(lambda x: jnp.stack([x] * count), state)
    axes = (0, *[None] * len(shared), 0)
    run = jax.jit(jax.vmap(self._run, axes), donate_argnums=0)
    self._state, self._key = states, jax.random.split(key, count)
    self._arguments = lambda: (self._state, *shared, self._key)
    self._run = run
    return self.run()

  def operations(self) -> int:
    """Count the operations of one step; see flops.count."""
    phase = self._phase(self._config)
    shape = (phase.batch_size, *self._split.images.shape[1:])
    batch = {
      "image": jax.ShapeDtypeStruct(shape, np.uint8),
      "label": jax.ShapeDtypeStruct(shape[:1], np.int32),
    }
    init = functools.partial(self._task.init_state, self._config, self._info)
    state = jax.eval_shape(init, self._key)
    step = self._step(self._config)
    return flops.count(step, state, batch, self._key, self._given)

  def run(self) -> float:
    """Return the seconds of the steps, including reading their metrics."""
    return workload.clocked(self._train)

  def _arguments(self):
    key = randomness.named(self._key, "train")
    return self._state, self._data, self._frozen, key

  def _train(self):
    self._state, metrics = self._run(*self._arguments())
    jax.block_until_ready(self._state)
    return {name: np.asarray(values) for name, values in metrics.items()}

  def growth_mib(self) -> float:
    """Return the growth of the peak memory since before `build`."""
    return worker.peak_mib() - self._before

  def reference(self, config, steps: int) -> dict:
    """Take steps from the initial weights, in float64.

    Args:
      config: a config in which only latents and the penalty's interpolation
        weights are random.
      steps: number of steps.

    Returns:
      A dict of numpy values: `variables` and `parameters` (their number) by
      network; `inputs`, per step the images, labels and the other random
      values by name; `metrics`, one dict per step.
    """
    with jax.enable_x64(True):
      return self._reference(config, steps)

  def _reference(self, config, steps):
    state = self._initial(config)
    names = [
      name
      for name in ("generator", "discriminator", "variables")
      if hasattr(state, name)
    ]
    networks = {name: jax.device_get(getattr(state, name)) for name in names}
    inputs, metrics = [], []
    for images, labels, key, values in self.take(config, state, steps):
      inputs.append((images, labels, _drawn(config, key, len(labels))))
      metrics.append(values)
    return {
      "variables": networks,
      "parameters": {
        name: sum(x.size for x in jax.tree.leaves(variables["params"]))
        for name, variables in networks.items()
      },
      "inputs": inputs,
      "metrics": metrics,
    }

  def first_state(self, config):
    """Return the state before the first step, in host memory."""
    return jax.device_get(self._initial(config))

  def take(self, config, state, steps: int) -> Iterator[tuple]:
    """Take steps from a state, one by one.

    Yields:
      A step's images, labels and key, and its metrics.
    """
    step = jax.jit(self._step(config))
    frozen = layers.in_default_float(self._given)
    rng, size = np.random.default_rng(0), self._phase(config).batch_size
    for number in range(steps):
      key = jax.random.fold_in(self._key, number)
      places = rng.integers(len(self._split.labels), size=size)
      images, labels = self._split.images[places], self._split.labels[places]
      batch = {"image": images, "label": labels}
      state, values = step(state, batch, key, frozen)
      values = {name: float(value) for name, value in values.items()}
      yield images, labels, key, values

  def _step(self, config):
    """Return one step as a function of state, batch, key and frozen."""
    phase = self._phase(config)
    return lambda state, batch, key, frozen: self._task.train_step(
      state,
      batch,
      key,
      config=config,
      info=self._info,
      phase=phase,
      frozen=frozen,
    )

  def versions(self) -> dict[str, str]:
    """Return the framework's version."""
    return {"jax": jax.__version__}
