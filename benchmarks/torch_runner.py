"""PyTorch's training steps, to be timed in a process of their own."""

import ctypes
import importlib
import os

import torch

from benchmarks import torch_models, worker, workload


def _keep_memory() -> None:
  """Have glibc keep what is freed, as PyTorch's tuning guide advises.

  By default it gives large blocks back to the system and gets new pages,
  which must be zeroed, for the next ones: that costs PyTorch about a twentieth
  of a step. Another C library is left as it is.
  """
  set_option = getattr(ctypes.CDLL(None), "mallopt", None)
  if set_option:
    mmap_max, trim_threshold = -4, -1  # malloc.h
    set_option(mmap_max, 0)
    set_option(trim_threshold, 2**31 - 1)


def configure() -> None:
  """Set for the whole process what makes PyTorch fast."""
  _keep_memory()
  torch.set_num_threads(os.cpu_count())
  torch.set_flush_denormal(True)
  torch.manual_seed(0)


class Steps:
  """What a process serves: training steps of one model.

  Args:
    name: of a class with `networks` and `update`, as `module.Class`.
    config: of the model.
    size: height and width of the images.
    steps: in a call of `run`.
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
    """Build a variant and run it once, so that it is compiled."""
    torch.compiler.reset()
    self._model = self._factory(self._config, self._size, variant)
    self.run()

  def run(self) -> float:
    """Return the seconds that the steps take, their metrics read."""
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
    """Return how far memory's peak has grown since before `build`."""
    return worker.peak_mib() - self._before

  def follow(self, config, variant: workload.Variant, reference: dict) -> dict:
    """Take the steps of a reference from its weights, in float64.

    Args:
      config: of the reference.
      variant: how to run it.
      reference: what skinjax_runner.Steps.reference returns.

    Returns:
      `parameters` by network and `metrics`, a dict a step, as the reference's.
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
    """Name the framework's version."""
    return {"torch": torch.__version__}
