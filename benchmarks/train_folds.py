r"""Train the ACGAN and the ProGAN for five folds of HAM10000 on a time budget.

  python -m benchmarks.train_folds --minutes=8 --manual_dir=DIR --out=DIR

MANUAL_DIR has HAM10000's archives and table; TFDS is not needed. The default
configs are trained for all of their steps if there is time, or else for a share
of them, which a short timing run determines. OUT/acgan and OUT/progan are then
folders of released generators (see skinjax/training/released.py), for
--config.generator=OUT/acgan/{fold}.

The output is valid whenever the command is stopped, and the same command
resumes: OUT/plan.json has the steps, OUT/unfinished.npz the state of an
unfinished training run.
"""

import argparse
import dataclasses
import functools
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from benchmarks import budget as budgets
from benchmarks import standins

standins.install()

import jax  # noqa: E402
import ml_collections  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import arguments, ham10000, workload  # noqa: E402
from configs import acgan, progan  # noqa: E402
from skinjax.data import batches, datasets, provenance  # noqa: E402
from skinjax.runtime import (  # noqa: E402
  errors,
  files,
  interruption,
  parallel,
  randomness,
)
from skinjax.training import (  # noqa: E402
  loop,
  monitor,
  released,
  schedules,
  tasks,
)
from skinjax.training.tasks import progan as growing  # noqa: E402
from tfds_ham10000 import DataError  # noqa: E402

# Configs and their arguments, by the name of the output folder.
TRAINED = {
  "acgan": (acgan.get_config, "dataset=ham10000"),
  "progan": (progan.get_config, "dataset=ham10000"),
}
FOLDS = range(5)
_PLAN, _UNFINISHED = "plan.json", "unfinished.npz"
_KEPT_EVERY = 30.0  # seconds between saves of an unfinished training run
_SAID_EVERY = 10.0  # seconds between lines of progress
_MULTIPLE = 1024  # images are padded to a multiple of this
_PLANNED = 0.9  # share of the remaining time that is planned

Read = Callable[[Any], datasets.Dataset]  # reads the data of `config.data`


def start(
  config, dataset: datasets.Dataset, info: datasets.DataInfo, frozen: Any
):
  """Start a training run as loop.train does.

  Args:
    config: a frozen config.
    dataset: the data to train on.
    info: the data's description for compiled programs. A GAN's programs do not
      depend on class counts, so folds with the same `info` share them.
    frozen: the result of the task's `frozen`.

  Returns:
    `advance(state, phase) -> (state, metrics)`, which takes config.log_every
    steps and donates the state; and the initial state.
  """
  task, key = tasks.named(config.task), jax.random.key(config.seed)
  init = functools.partial(
    task.init_state, config, info, randomness.named(key, "init")
  )
  data = padded(batches.on_device(dataset.train, info.num_classes))
  data, frozen = parallel.place((data, frozen), config.parallel)
  stream = randomness.named(key, "train")

  def advance(state, phase):
    steps = loop.compile_steps(task, config, info, phase)
    return jax.block_until_ready(steps(state, data, frozen, stream))

  return advance, parallel.create(
    init, config.parallel, task.pretrained(config)
  )


def padded(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Pad the images to the same number in all folds; padding is never sampled.

  Otherwise programs would be compiled for each fold, as some have one image
  more.
  """
  more = -len(data["labels"]) % _MULTIPLE
  pad = lambda x: np.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1))
  return data | {name: pad(data[name]) for name in ("images", "labels")}


class Times(NamedTuple):
  """Seconds of a config's last phase: for compiling, and per step."""

  compiling: float
  step: float


def timed(config, dataset: datasets.Dataset, info: datasets.DataInfo) -> Times:
  """Measure two calls of the last phase, the costliest."""
  task = tasks.named(config.task)
  phase, frozen = task.phases(config)[-1], task.frozen(config)
  advance, state = start(config, dataset, info, frozen)
  state = [state]

  def call():
    state[0], _ = advance(state[0], phase)

  first, second = workload.clocked(call), workload.clocked(call)
  return Times(max(first - second, 0.0), second / config.log_every)


def expected(config, times: Times) -> Times:
  """Return the seconds for compiling all phases, and for all training steps.

  Smaller images take less work, but launching the layers takes the same time.
  """
  phases = tasks.named(config.task).phases(config)
  last, total = phases[-1], 0.0
  for phase in phases:
    part = phase.work / last.work
    if phase.level is not None:
      part = max(part, (phase.level + 1) / (last.level + 1))
    total += part * (phase.stop - phase.first_step)
  return Times(times.compiling * len(phases), times.step * total)


def shortened(config, share: float) -> ml_collections.FrozenConfigDict:
  """Return a config with a share, in (0, 1], of the steps.

  A growing network trains on that share of the images at each resolution.
  """
  config = ml_collections.ConfigDict(config.to_dict())
  if share < 1 and "growth" in config:
    growth, last = config.growth, growing.phases(config)[-1]
    images = (last.stop - last.first_step) * last.batch_size - last.fade_images
    growth.fade_images = max(1, round(share * growth.fade_images))
    growth.stable_images = round(share * growth.stable_images)
    images = max(1, round(share * images))
    config.train.steps = growing.steps_for(images, config)
  elif share < 1:
    calls = int(share * config.train.steps) // config.log_every
    config.train.steps = max(1, calls) * config.log_every
  return ml_collections.FrozenConfigDict(config)


def plan(
  configs: Mapping[str, Any], read: Read, folds: Iterable[int], budget
) -> dict[str, Any]:
  """Divide the time; return the content of plan.json.

  Returns:
    The `share` of the steps; `configs` with their steps by folder; and the
    expected seconds for `compiling` all programs and for `training` once, by
    folder.

  Raises:
    InputError: there is no time left for training.
  """
  full, compiling = {}, 0.0
  for folder, config in configs.items():
    budget.say(f"{folder}: timing")
    dataset = read(_of_fold(config, next(iter(folds))).data)
    times = timed(config, dataset, _shared(dataset.info))
    full[folder] = expected(config, times)
    budget.say(f"{folder}: {times.step * 1e3:.3g} ms a step at full size")
    compiling += full[folder].compiling
    left = _PLANNED * budget.left() - compiling
    if left <= 0:
      needed = (budget.spent() + compiling) / (60 * _PLANNED)
      raise errors.InputError(
        f"--minutes: timing and compiling alone take {needed:.1f} minutes on "
        f"this {jax.devices()[0].device_kind}; give more"
      )
  work = len(list(folds)) * sum(times.step for times in full.values())
  share = min(1.0, left / work)
  return {
    "share": share,
    "configs": {
      folder: shortened(config, share).to_dict()
      for folder, config in configs.items()
    },
    "compiling": {folder: times.compiling for folder, times in full.items()},
    "training": {folder: share * times.step for folder, times in full.items()},
  }


def _of_fold(config, fold: int) -> ml_collections.FrozenConfigDict:
  config = ml_collections.ConfigDict(config.to_dict())
  config.data.fold = fold
  return ml_collections.FrozenConfigDict(config)


def _shared(info: datasets.DataInfo) -> datasets.DataInfo:
  return dataclasses.replace(info, fingerprint="")


def run(
  configs: Mapping[str, Any],
  read: Read,
  out: pathlib.Path,
  budget: budgets.Budget,
  folds: Iterable[int],
) -> list[dict[str, Any]]:
  """Train each config for each fold, and release the generators.

  Args:
    configs: configs by folder.
    read: reads the data set of a config's `data`.
    out: the folders' parent directory.
    budget: the time budget, including the timing run.
    folds: folds to train for.

  Returns:
    A row for each released generator: folder, fold, steps and seconds.

  Raises:
    Interrupted: SIGTERM or Ctrl-C was received; the state is saved.
    InputError: training diverged, or the directory cannot be written.
  """
  files.make_directory(out, "--out")
  if (out / _PLAN).exists():
    decided = files.read_json(out / _PLAN, "it records how long to train")
  else:
    decided = plan(configs, read, folds, budget)
    files.write_json(out / _PLAN, decided)
  budget.say(f"{decided['share']:.1%} of all steps")
  due = [
    (folder, fold)
    for folder in configs
    for fold in folds
    if str(fold) not in released.names(out / folder)
  ]
  info = None
  for number, (folder, fold) in enumerate(due):
    config = ml_collections.FrozenConfigDict(decided["configs"][folder])
    config = _of_fold(config, fold)
    dataset = read(config.data)
    info = info or _shared(dataset.info)
    # Programs compiled for a folder's first fold are reused for the others.
    later = [name for name, _ in due[number:]]
    needs = [decided["training"][name] for name in later]
    more = {name: decided["compiling"][name] for name in dict.fromkeys(later)}
    first = number == 0 or due[number - 1][0] != folder
    if not first:
      more.pop(folder)
    own = needs[0] + more.get(folder, 0.0)
    part = own / (sum(needs) + sum(more.values()))
    _train(folder, fold, config, dataset, info, out, budget.share(part))
  return [
    {"folder": folder, "fold": int(name), "steps": made.step, **made.made}
    for folder in configs
    for name in released.names(out / folder)
    for made in [released.read(out / folder / name)]
  ]


def _train(folder, fold, config, dataset, info, out, budget) -> None:
  """Train within the budget, and release the generator."""
  name, begun = f"{folder}, fold {fold}", time.monotonic()
  task, total = tasks.named(config.task), config.train.steps
  phases, frozen = task.phases(config), task.frozen(config)
  advance, state = start(config, dataset, info, frozen)
  state = _restored(out, name, state, config)
  step, kept, said = int(state.step), time.monotonic(), 0.0
  budget.say(f"{name}: steps {step} to {total}")
  with interruption.deferred() as signalled:
    # At least one call: an untrained generator is useless.
    while step < total and (not step or budget.left() > 0):
      state, stacked = advance(state, schedules.phase_at(phases, step))
      monitor.finite_means(stacked, step, None)
      step += config.log_every
      now = time.monotonic()
      if now - said > _SAID_EVERY:
        said = now
        budget.say(f"{name}: step {step} of {total}")
      if signalled() or now - kept > _KEPT_EVERY:
        kept = now
        _keep(out, name, state)
      if signalled():
        raise interruption.Interrupted(
          signalled(),
          f"step {step} of {name} is saved; resume with the same command.",
        )
  state = jax.device_get(parallel.local(state))
  released.add(
    out / folder,
    str(fold),
    released.Member(
      config=config.to_dict(),
      origin=provenance.origin_of(dataset, provenance.frozen_record(frozen)),
      step=step,
      average=state.average,
      made={
        "seconds": time.monotonic() - begun,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
      },
    ),
  )
  (out / _UNFINISHED).unlink(missing_ok=True)


def _keep(out: pathlib.Path, name: str, state: Any) -> None:
  leaves = jax.tree.leaves(jax.device_get(parallel.local(state)))
  numbered = {str(place): np.asarray(x) for place, x in enumerate(leaves)}
  files.write_arrays(out / _UNFINISHED, name=np.array(name), **numbered)


def _restored(out: pathlib.Path, name: str, state: Any, config) -> Any:
  """Return the saved state of this training run, or the given one."""
  if not (out / _UNFINISHED).exists():
    return state
  kept = files.read_arrays(out / _UNFINISHED, "remove it to start anew")
  if str(kept.pop("name", "")) != name:
    return state
  leaves, shape = jax.tree.flatten(state)
  found = [kept[str(place)] for place in range(len(leaves))]
  return parallel.place(jax.tree.unflatten(shape, found), config.parallel)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse arguments, or exit with a one-line error."""
  parser = arguments.Parser("python -m benchmarks.train_folds")
  add = parser.add_argument
  add("--minutes", type=arguments.minutes, default=8.0)
  path = arguments.path
  add("--manual_dir", required=True, type=path, help="that of HAM10000's files")
  add("--out", required=True, type=path, help="directory to write to")
  return parser.parse_args(argv)


def main() -> None:
  """Train, and print the released generators."""
  args = parse()
  budget = budgets.Budget(60 * args.minutes)
  configs = {
    folder: ml_collections.FrozenConfigDict(get_config(text))
    for folder, (get_config, text) in TRAINED.items()
  }
  size = next(iter(configs.values())).data.size
  try:
    budget.say(f"reading {args.manual_dir}")
    raw = ham10000.read(args.manual_dir, size)
    read = lambda data: datasets.divided(raw, data)
    rows = run(configs, read, args.out, budget, FOLDS)
  except (errors.InputError, DataError) as error:
    sys.exit(f"train_folds: {error}")
  except interruption.Interrupted as stopped:
    print(f"train_folds: {stopped}", file=sys.stderr)
    sys.exit(128 + stopped.number)
  for row in rows:
    print("  ".join(f"{key} {value}" for key, value in row.items()))
  print(
    "Use them as "
    + " or ".join(
      f"--config.generator={os.path.join(args.out, folder)}/{{fold}}"
      for folder in configs
    )
  )


if __name__ == "__main__":
  main()
