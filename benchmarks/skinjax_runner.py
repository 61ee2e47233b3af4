"""skinjax's training steps as the product runs them, to be timed."""

import functools
import os

import jax
import numpy as np

from benchmarks import worker, workload
from skinjax.data import batches, datasets, sources
from skinjax.runtime import parallel, randomness
from skinjax.training import loop, tasks


def configure() -> None:
  """Sets for the whole process what main.py does."""
  parallel.keep_compiled(os.path.join(sources.cache_dir(), "compiled"))


def _drawn(config, key, batch_size):
  """Draws what train_step draws from its key, as it does."""
  keys, drawn = randomness.by_example(key, batch_size), {}
  stream = lambda name: randomness.stream(keys, name)
  if "latents" in config.model:
    shape = (config.model.latents,)
    drawn["latents"] = randomness.normal(stream("latents"), shape)
  if config.get("loss", {}).get("penalty", "none") != "none":
    drawn["shares"] = jax.vmap(jax.random.uniform)(stream("between"))
  return jax.tree.map(np.asarray, drawn)


class Steps:
  """What a process serves: training steps of one model.

  Args:
    config: of the model; `log_every` steps are one call.
    size: height and width of the images.
    phase: number of the phase of its training; -1: the last.
  """

  def __init__(self, config, size: int, phase: int = -1):
    images, labels = workload.examples(size)
    self._split = datasets.Split(images, labels, None, None)
    self._info = datasets.DataInfo(
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
    self._config, self._number = config, phase
    self._task = tasks.named(config.task)
    self._frozen = parallel.place(
      self._task.frozen(config, self._info), config.parallel
    )
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
    """Compiles the steps; returns the seconds of their first run with it."""
    self._state = self._initial(self._config)
    phase = self._phase(self._config)
    self._run = loop.compile_steps(self._task, self._config, self._info, phase)
    return self.run()

  def run(self) -> float:
    """Returns the seconds that the steps take, their metrics read."""
    return workload.clocked(self._train)

  def _train(self):
    key = randomness.named(self._key, "train")
    self._state, metrics = self._run(self._state, self._data, self._frozen, key)
    jax.block_until_ready(self._state)
    return {name: np.asarray(values) for name, values in metrics.items()}

  def growth_mib(self) -> float:
    """Returns how far memory's peak has grown since before `build`."""
    return worker.peak_mib() - self._before

  def reference(self, config, steps: int) -> dict:
    """Takes steps from the first weights, in float64.

    Args:
      config: in which nothing is random but latents and a penalty's shares.
      steps: how many.

    Returns:
      numpy: `variables` and `parameters`, their number, by network; `inputs`,
      images, labels and what else is drawn, by name, a step; `metrics`, a dict
      a step.
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
    phase = self._phase(config)
    step = jax.jit(
      lambda state, batch, key: self._task.train_step(
        state,
        batch,
        key,
        config=config,
        info=self._info,
        phase=phase,
        frozen=self._frozen,
      )
    )
    rng = np.random.default_rng(0)
    inputs, metrics = [], []
    for number in range(steps):
      key = jax.random.fold_in(self._key, number)
      places = rng.integers(len(self._split.labels), size=phase.batch_size)
      images, labels = self._split.images[places], self._split.labels[places]
      state, values = step(state, {"image": images, "label": labels}, key)
      inputs.append((images, labels, _drawn(config, key, phase.batch_size)))
      metrics.append({name: float(value) for name, value in values.items()})
    return {
      "variables": networks,
      "parameters": {
        name: sum(x.size for x in jax.tree.leaves(variables["params"]))
        for name, variables in networks.items()
      },
      "inputs": inputs,
      "metrics": metrics,
    }

  def versions(self) -> dict[str, str]:
    """Names the framework's version."""
    return {"jax": jax.__version__}
