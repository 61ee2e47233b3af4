"""Time what surrounds a training step: sampling batches, start-up, reading.

  python -m benchmarks.pipeline [--dataset=ham10000] [--data_dir=DIR] \
    [--manual_dir=DIR] [--pairs=30] [--steps=5] [--json=FILE]

`batches` compares training as in the configs with the same steps on one
constant batch, in pairs of calls in alternating order; the ratio is the median
over the pairs, with quartiles. `first step` is the time from the command to the
first line of metrics.jsonl, with an empty compilation cache and then with a
filled one. Training writes a line every `log_every` steps, which is 1 here and
50 in the configs. `reading` is the time to read data sets that are prepared.
"""

import argparse
import functools
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

import tfds_ham10000
from benchmarks import arguments, results
from configs import common
from skinjax.data import batches, datasets, sources
from skinjax.runtime import errors, files, parallel, randomness
from skinjax.training import loop, tasks

_DATA = ("ham10000", "mnist", "toy")
_MODELS = ("acgan", "classifier")
_ROOT = pathlib.Path(__file__).resolve().parents[1]


def constant_steps(task, config, info, phase) -> Callable:
  """Compile the steps of loop.compile_steps, without sampling batches.

  Args: as in loop.compile_steps.

  Returns:
    `steps(state, batch, frozen, key) -> (state, metrics)`, for one device.
  """

  def call(state, batch, frozen, key, *, axis_name, shard):
    def one(state, _):
      step_key = randomness.named(jax.random.fold_in(key, state.step), "step")
      return task.train_step(
        state,
        shard(batch),
        step_key,
        config=config,
        info=info,
        phase=phase,
        axis_name=axis_name,
        frozen=frozen,
      )

    return jax.lax.scan(one, state, length=config.log_every)

  return parallel.compile_steps(call, "one")


def pairs(config, dataset: datasets.Dataset, count: int) -> list[list[float]]:
  """Time calls on sampled batches and calls on a constant one.

  Args:
    config: the config of a training task.
    dataset: the data set to sample from.
    count: number of pairs.

  Returns:
    The seconds of both calls of each pair, without compilation.
  """
  task = tasks.named(config.task)
  info, key = dataset.info, jax.random.key(config.seed)
  train_data = parallel.place(
    batches.on_device(dataset.train, info.num_classes), "one"
  )
  phase = task.phases(config)[-1]
  keys = jax.random.split(key, phase.batch_size)
  batch = jax.jit(batches.draw, static_argnums=2)(
    train_data, keys, config.train.sampler
  )
  arms = [
    (loop.compile_steps(task, config, info, phase), train_data),
    (constant_steps(task, config, info, phase), batch),
  ]
  init = functools.partial(task.init_state, config, info, key)
  state = parallel.create(init, "one", task.pretrained(config))
  frozen = parallel.place(task.frozen(config), "one")
  states = [jax.tree.map(jnp.copy, state), state]  # calls donate their state

  def seconds(arm: int) -> float:
    steps, given = arms[arm]
    start = time.perf_counter()
    states[arm], _ = jax.block_until_ready(
      steps(states[arm], given, frozen, key)
    )
    return time.perf_counter() - start

  times = []
  for pair in range(-1, count):  # the first pair compiles and is dropped
    order = (0, 1) if pair % 2 else (1, 0)
    times.append([took for _, took in sorted((a, seconds(a)) for a in order)])
  return times[1:]


def batch_row(name: str, args, dataset: datasets.Dataset) -> dict:
  """Measure a model's overhead of sampling batches."""
  config = ml_collections.ConfigDict(_config(name, args))
  config.parallel, config.log_every = "one", args.steps
  config = ml_collections.FrozenConfigDict(config)
  times = np.array(pairs(config, dataset, args.pairs))
  images = args.steps * config.train.batch_size
  real, constant = images / np.median(times, 0)
  low, ratio, high = np.quantile(times[:, 1] / times[:, 0], [0.25, 0.5, 0.75])
  return {
    "model": name,
    "images/s": real,
    "constant": constant,
    "ratio": ratio,
    "low": low,
    "high": high,
  }


def first_step(name: str, args, cache: pathlib.Path) -> float:
  """Return the seconds from main.py's command to its first step's metrics.

  Args:
    name: the config's name.
    args: command-line arguments.
    cache: directory of compiled programs.
  """
  with tempfile.TemporaryDirectory() as root:
    workdir, log = pathlib.Path(root) / "run", pathlib.Path(root) / "log"
    values = _config(name, args)
    command = [sys.executable, "main.py", f"--workdir={workdir}"]
    command += [f"--config=configs/{name}.py:dataset={args.dataset}"]
    command += [f"--config.data.data_dir={values.data.data_dir}"]
    command += [f"--config.data.manual_dir={values.data.manual_dir}"]
    command += ["--config.log_every=1"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    metrics = workdir / "metrics.jsonl"
    start = time.perf_counter()
    with (
      log.open("w") as file,
      subprocess.Popen(
        command, cwd=_ROOT, env=environment, stdout=file, stderr=file
      ) as process,
    ):
      try:
        while not (metrics.exists() and metrics.stat().st_size):
          if process.poll() is not None:
            raise RuntimeError(f"main.py ended:\n{log.read_text()}")
          time.sleep(0.02)
        return time.perf_counter() - start
      finally:
        process.kill()


def start_row(name: str, args) -> dict:
  """Measure the time to the first step with a cold and a warm cache."""
  with tempfile.TemporaryDirectory() as cache:
    cold, warm = (first_step(name, args, pathlib.Path(cache)) for _ in range(2))
  return {"model": name, "cold s": cold, "warm s": warm}


def reading_row(name: str, args) -> dict:
  """Measure the time to read a data set, or note that it is not prepared."""
  config = _data_config(common.base("", name, 0), args).data
  if not sources.is_prepared(config):
    return {"data set": name, "note": "not prepared here"}
  start = time.perf_counter()
  dataset = datasets.load(config)
  took = time.perf_counter() - start
  images = sum(len(split.labels) for split in dataset.splits)
  return {"data set": name, "size": config.size, "images": images, "s": took}


def _config(name: str, args):
  module = importlib.import_module(f"configs.{name}")
  return _data_config(module.get_config(f"dataset={args.dataset}"), args)


def _data_config(config, args):
  # Absolute: main.py is started in another directory, with another cache.
  config.data.data_dir = str(args.data_dir.absolute())
  config.data.manual_dir = (
    str(args.manual_dir.absolute()) if args.manual_dir else ""
  )
  return config


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse arguments, or exit with a one-line error."""
  parser = arguments.Parser(
    "python -m benchmarks.pipeline", description=__doc__.split("\n")[0]
  )
  add, path = parser.add_argument, arguments.path
  add("--dataset", default="ham10000", choices=_DATA)
  add("--data_dir", type=path, default=sources.default_dir())
  add("--manual_dir", type=path, help="the user's files")
  add("--pairs", type=arguments.positive, default=30)
  add("--steps", type=arguments.positive, default=5, help="per call")
  add("--json", type=arguments.file, help="also write results here")
  return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict[str, list[dict]]:
  """Run all timings; return the JSON document.

  Raises:
    InputError: a data set cannot be read.
    tfds_ham10000.DataError: the user's files are not HAM10000.
  """
  measured = {"batches": [], "first step": [], "reading": []}

  def measure(part, row, name, *rest):
    print(f"{part}: {name} ...", file=sys.stderr, flush=True)
    measured[part].append(row(name, *rest))

  for name in _DATA:
    measure("reading", reading_row, name, args)
  # Prepares the data set if needed, which no timed command should do.
  dataset = datasets.load(_config("acgan", args).data)
  for name in _MODELS:
    measure("first step", start_row, name, args)
  for name in _MODELS:
    measure("batches", batch_row, name, args, dataset)
  return measured


def main() -> None:
  """Print what was measured."""
  args = parse()
  try:
    measured = run(args)
  except (errors.InputError, tfds_ham10000.DataError) as error:
    sys.exit(f"pipeline: {error}")
  for part, rows in measured.items():
    print(f"{part}\n{textwrap.indent(results.table(rows), '  ')}")
  if args.json:
    files.write_json(args.json, measured)


if __name__ == "__main__":
  main()
