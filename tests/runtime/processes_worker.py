"""One of the processes that processes_test.py starts; prints JSON.

`python -m tests.runtime.processes_worker NAME COUNT INDEX PORT [ARGUMENT …]`
calls the function NAME as process INDEX of COUNT, which have eight devices
together.
"""

import json
import os
import pathlib
import sys


def agree(path, own_path):
  """Try what processes tell each other; the last one is odd."""
  import jax

  from skinjax.runtime import errors, parallel, processes, workdir
  from tests import shrunk

  first, odd = processes.is_first(), jax.process_index() > 0

  def refused(call):
    try:
      call()
    except errors.InputError as error:
      return str(error)
    return None

  def fail():
    assert first, "called where it should not be"
    raise errors.InputError("the first cannot")

  def bug():
    try:
      return refused(lambda: processes.on_first(lambda: {}["a"]))
    except KeyError:  # where it is
      return "Process 0 has stopped (KeyError: 'a')."

  def fail_if_odd():
    if odd:
      raise errors.InputError("the odd one cannot")

  def claim(path, **changes):
    with workdir.claim(path, shrunk.frozen("acgan", **changes)):
      pass

  return {
    "first": first,
    "devices": [jax.local_device_count(), jax.device_count()],
    "value": processes.on_first(lambda: [1, "é" * 3000]),
    "fail": refused(lambda: processes.on_first(fail)),
    "together": [
      processes.together(lambda: "done"),
      refused(lambda: processes.together(fail_if_odd)),
    ],
    "bug": bug(),
    "in_any": [processes.in_any(odd), processes.in_any(False)],
    "same": refused(lambda: processes.require_same("The text", "a")),
    "differs": refused(lambda: processes.require_same("The text", "ab"[odd])),
    "one": refused(lambda: parallel.resolve("one")),
    "seeds": refused(lambda: claim(path, seed=int(odd))),
    "places": refused(lambda: claim(own_path)),
    "claim": refused(lambda: claim(path)),
  }


def train(task_name, mode, path):
  """Train in float64 by SGD, then restore what was saved."""
  import jax
  import numpy as np
  import optax

  from skinjax.data import sources
  from skinjax.metrics import features
  from skinjax.training import loop, tasks
  from tests import shrunk

  # As parallel_test.py has it: Adam makes whole steps of rounding noise.
  optax.adam = lambda rate, **_: optax.sgd(rate)
  optax.adamw = lambda *_, **__: optax.sgd(0.05)
  changes = {"train__rate": 0.05}
  if task_name == "acgan":
    rates = ("train__generator_rate", "train__discriminator_rate")
    changes = {**dict.fromkeys(rates, 0.05), "sample_every": 5}
    changes |= {"kid_every": 1, "best": "kid"}
    features.efficientnet = shrunk.extractor
    place = os.path.join(os.path.dirname(path), "cache")
    sources.cache_dir = lambda: place
  config = shrunk.config(
    task_name,
    parallel=mode,
    log_every=1,
    eval_every=5,
    save_every=1,
    train__steps=5,
    train__batch_size=16,
    **changes,
  )
  task, data = tasks.named(task_name), shrunk.dataset()
  result = loop.train(task, config, path, data)
  again = loop.train(task, config, path, data)
  pairs = zip(
    jax.tree.leaves(result.state), jax.tree.leaves(again.state), strict=True
  )
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)
    assert len(b.sharding.device_set) == 8
  leaves = shrunk.leaves(again.state)
  return {
    "metrics": result.metrics,
    "leaves": {name: x.tolist() for name, x in leaves.items()},
  }


def main(name, count, index, port, *arguments):
  """Join the others, if there are any, and call a function."""
  os.environ["JAX_PLATFORMS"] = "cpu"
  os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count={8 // count}"
  )
  import jax

  from skinjax.runtime import processes

  jax.config.update("jax_enable_x64", True)
  jax.config.update("jax_disable_most_optimizations", True)
  if count > 1:
    processes.join(f"localhost:{port}", count, index)
  print(json.dumps(globals()[name](*arguments)))


if __name__ == "__main__":
  name, count, index, *rest = sys.argv[1:]
  sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
  main(name, int(count), int(index), *rest)
