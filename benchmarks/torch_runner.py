"""PyTorch's training steps, for timing in a separate process."""

import ctypes
import importlib
import os

import torch

from benchmarks import torch_models, worker, workload


def _keep_memory() -> None:
  """Make glibc keep freed memory, as PyTorch's tuning guide advises.

  By default it returns large blocks to the system and gets new pages, which
  must be zeroed, for the next ones. That costs PyTorch about a twentieth of a
  step. Other C libraries are not changed.
  """
  set_option = getattr(ctypes.CDLL(None), "mallopt", None)
  if set_option:
    mmap_max, trim_threshold = -4, -1  # malloc.h
    set_option(mmap_max, 0)
    set_option(trim_threshold, 2**31 - 1)


def configure() -> None:
  """Configure the whole process so that PyTorch is fast."""
  _keep_memory()
  torch.set_num_threads(os.cpu_count())
  torch.set_flush_denormal(True)
  torch.manual_seed(0)


class Steps:
  """Training steps of one model, served by a worker process.

  Args:
    name: a class with `networks` and `update`, as `module.Class`.
    config: the model's config.
    size: height and width of the images.
    steps: steps per call of `run`.
  """

  def __init__(self, name: str, config, size: int, steps: int):
    module, kind = name.split(".")
    module = importlib.import_module(f"benchmarks.{module}")
    self._factory, self._size = getattr(module, kind), size
    self._config, self._steps = config, steps
    images, labels = workload.examples(size)
    device = torch.get_default_device()
    self._images = torch.from_numpy(images).to(device)
    self._labels = torch.from_numpy(labels).long().to(device)
    self._before = worker.peak_mib()
    self._model = None

  def build(self, variant: workload.Variant) -> None:
    """Build a variant and run it once to compile it."""
    torch.compiler.reset()
    self._model = self._factory(self._config, self._size, variant)
    self.run()

  def run(self) -> float:
    """Return the seconds of the steps, including reading their metrics."""
    return workload.clocked(self._train)

  def _train(self):
    stacked = []
    for _ in range(self._steps):
      places = torch.randint(
        len(self._labels), (workload.batch_size(self._config),)
      )
      images = self._images.index_select(0, places)
      metrics = self._model.update(images, self._labels[places])
      stacked.append(torch.stack([*metrics.values()]).detach())
    return torch.stack(stacked).tolist()

  def growth_mib(self) -> float:
    """Return the growth of the peak memory since before `build`."""
    return worker.peak_mib() - self._before

  def follow(self, config, variant: workload.Variant, reference: dict) -> dict:
    """Take the reference's steps from its weights, in float64.

    Args:
      config: the reference's config.
      variant: how to run it.
      reference: the result of skinjax_runner.Steps.reference.

    Returns:
      `parameters` by network and `metrics`, one dict per step, as in the
      reference.
    """
    torch.compiler.reset()
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
      return self._follow(config, variant, reference)
    finally:
      torch.set_default_dtype(usual)

  def _follow(self, config, variant, reference):
    model = self._factory(config, self._size, variant)
    for name, network in model.networks.items():
      torch_models.load_flax(network, reference["variables"][name])
    counts = {
      n: torch_models.parameters(net) for n, net in model.networks.items()
    }
    metrics = []
    for images, labels, drawn in reference["inputs"]:
      values = model.update(
        torch.tensor(images),
        torch.tensor(labels).long(),
        **{name: torch.tensor(value) for name, value in drawn.items()},
      )
      metrics.append({name: value.item() for name, value in values.items()})
    return {"parameters": counts, "metrics": metrics}

  def versions(self) -> dict[str, str]:
    """Return the framework's version."""
    return {"torch": torch.__version__}
