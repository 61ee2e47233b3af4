"""The training loop of all tasks."""

import functools
import math
import pathlib
import signal
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import logging
from clu import parameter_overview

from skinjax.data import batches, datasets, provenance
from skinjax.metrics import classification
from skinjax.runtime import (
  checkpoint,
  errors,
  files,
  interruption,
  parallel,
  processes,
  randomness,
  workdir,
)
from skinjax.training import kid, monitor, schedules, tasks, trained

_CADENCES = ("eval_every", "save_every", "sample_every", "kid_every")


class Result(NamedTuple):
  """The result of training: last state, its data, and last evaluation."""

  state: Any
  dataset: datasets.Dataset
  metrics: dict[str, float]


def train(
  task: tasks.Task,
  config: ml_collections.ConfigDict,
  path: str | pathlib.Path,
  dataset: datasets.Dataset | None = None,
) -> Result:
  """Train a task in a workdir, from its latest checkpoint if it has one.

  If train.steps has been raised, the run resumes and ends with the same state
  as a run of that length from the start, provided that the task has no
  fixed_length and train.decay is 0. The evaluation and samples at the end of
  the shorter run stay on record. By default the data set is the one that
  `config.data` names.

  Raises:
    InputError: bad config, data or workdir, a loss or gradient that is not
      finite, or a full disk.
    Interrupted: SIGTERM or Ctrl-C was received; the state is saved.
  """
  config = ml_collections.FrozenConfigDict(config)
  check(config)
  rules = {"train.steps": steps_rule(task, "train.steps", [path])}
  with workdir.claim(path, config, rules=rules) as path:
    dataset = dataset or processes.together(lambda: datasets.load(config.data))
    frozen = processes.together(lambda: task.frozen(config))
    provenance.write_origin(path, dataset, frozen)
    with trained.checkpoints(path, config.best) as saved:
      return _train(task, config, path, dataset, frozen, saved)


def _train(task, config, path, dataset, frozen, saved) -> Result:
  info, total = dataset.info, config.train.steps
  key = jax.random.key(config.seed)
  init = _initializer(task, tasks.program_config(config), info)
  init_key = randomness.named(key, "init")
  shapes = jax.eval_shape(init, init_key)
  found = saved.restore(parallel.like(shapes, config.parallel))
  if found:
    first, state = found
  else:
    pretrained = processes.together(lambda: task.pretrained(config))
    first = 0
    state = parallel.create(init, config.parallel, init_key, pretrained)
  if (total - first) % config.log_every:
    raise errors.InputError(
      f"log_every={config.log_every} does not lead from step {first}, which "
      f"this workdir's run has reached, to step {total}: use one that divides "
      f"{math.gcd(first, total)}."
    )
  saved.drop_after(first)
  if first == 0:
    processes.on_first(
      lambda: files.write_text(path / "parameters.txt", _parameters(state))
    )
  logging.info(
    "%s on %s: %d training images, %d to %d per class, steps %d to %d",
    config.task,
    info.name,
    len(dataset.train.labels),
    min(info.class_counts),
    max(info.class_counts),
    first,
    total,
  )
  phases = task.phases(config)
  train_data = parallel.place(
    batches.on_device(dataset.train, info.num_classes, dataset.added),
    config.parallel,
  )
  frozen = parallel.place(frozen, config.parallel)
  stream = randomness.named(key, "train")
  evaluate = functools.partial(
    trained.evaluate,
    task,
    split=dataset.validation,
    config=config,
    info=info,
    frozen=parallel.local(frozen),
  )
  if first == total:
    return Result(state, dataset, evaluate(parallel.local(state)))
  step, stopped, phase = first, False, None
  with (
    monitor.Monitor(path, task, dataset, config, step=first) as watch,
    interruption.deferred() as signalled,
  ):
    while step < total and not stopped:
      now = schedules.phase_at(phases, step)
      if now != phase:
        phase = now
        steps = compile_steps(task, config, info, phase)
        watch.begun(step, phase)
      with jax.profiler.StepTraceAnnotation("train", step_num=step):
        state, stacked = steps(state, train_data, frozen, stream)
      means = monitor.finite_means(stacked, step, saved.latest())
      step += config.log_every
      watch.trained(step, means)
      stopped = processes.in_any(signalled() is not None)
      # In this order a checkpoint holds the state that was evaluated, and a
      # resumed run continues with the next step.
      due = lambda every, step=step: step == total or step % every == 0
      own, metrics, distances = parallel.local(state), {}, {}
      if due(config.eval_every):
        metrics = evaluate(own)
        watch.evaluated(step, metrics)
      if task.generates and (due(config.sample_every) or step == phase.stop):
        watch.draw(step, own)
      if task.generates and config.kid_every and due(config.kid_every):
        distances = watch.measure(step, own)
      if stopped or due(config.save_every):
        watch.sync()
        saved.save(step, state, metrics | distances)
      watch.pause()
    if step < total:
      raise interruption.Interrupted(
        signalled() or signal.SIGTERM,
        f"step {step} is saved in {path}. The same command resumes from there.",
      )
  return Result(state, dataset, metrics)


@functools.lru_cache(maxsize=8)
def _initializer(task: tasks.Task, config, info) -> Callable:
  """Return `init(key, pretrained=None)`, the same object for every seed.

  So that JAX compiles it only once.
  """
  return functools.partial(task.init_state, config, info)


def steps_rule(
  task: tasks.Task, key: str, places: Iterable[str | pathlib.Path]
) -> workdir.Rule:
  """Return the rule for changing `key`, the train steps of runs in `places`.

  Any number of steps is allowed that is not below the number already done.
  """

  def rule(before, now):
    saved = (pathlib.Path(place) / "checkpoints" for place in places)
    done = max(map(checkpoint.steps_done, saved), default=0)
    change = f"{key} was {before}, is {now}"
    if done and task.fixed_length:
      return f"{change}, and {task.fixed_length}"
    if now < done:
      return f"{change}, and {done} are already done"
    return None

  return rule


def compile_steps(
  task: tasks.Task, config, info, phase: schedules.Phase
) -> Callable:
  """Compile `config.log_every` steps of a phase, which sample their batches.

  Returns:
    `steps(state, data, frozen, key) -> (state, metrics)`: `data` is what
    batches.on_device returns, `frozen` what the task's `frozen` returns, and
    every metric is [log_every]; the given state is donated. Runs that differ
    only in their seed share the compiled function.
  """
  return _compiled(task, tasks.program_config(config), info, phase)


@functools.lru_cache(maxsize=8)
def _compiled(task, config, info, phase):
  size = parallel.share(phase.batch_size, config.parallel)

  def call(state, train_data, frozen, key, *, axis_name, shard):
    def one(state, _):
      step_key = jax.random.fold_in(key, state.step)
      keys = shard(randomness.by_example(step_key, size, axis_name))
      batch = shard(
        batches.draw(
          train_data,
          randomness.stream(keys, "draw"),
          config.train.sampler,
          state.step,
        )
      )
      return task.train_step(
        state,
        batch,
        randomness.named(step_key, "step"),
        config=config,
        info=info,
        phase=phase,
        axis_name=axis_name,
        frozen=frozen,
      )

    return jax.lax.scan(one, state, length=config.log_every)

  return parallel.compile_steps(call, config.parallel)


def _parameters(state) -> str:
  networks = {
    name: variables["params"]
    for name, variables in vars(state).items()
    if name != "average"
    and isinstance(variables, dict)
    and "params" in variables
  }
  return parameter_overview.get_parameter_overview(networks)


def check(config) -> None:
  """Reject a config with which training would fail later.

  Raises:
    InputError: an invalid cadence, sampler, loss or metric.
  """
  if config.log_every < 1:
    raise errors.InputError(f"log_every={config.log_every} is less than 1.")
  errors.require_known("train.sampler", config.train.sampler, batches.SAMPLERS)
  task = tasks.named(config.task)
  bests = ["", *classification.SCALARS, *kid.NAMES * task.generates]
  errors.require_known("best", config.best, bests)
  task.check(config)
  for phase in task.phases(config):
    parallel.share(phase.batch_size, config.parallel)
  for key in ("train.steps", *_CADENCES):
    value = workdir.flat(config).get(key, config.log_every)
    least = 0 if key == "kid_every" else 1  # 0 for never
    if value < least:
      raise errors.InputError(f"{key}={value} is less than {least}.")
    if value % config.log_every:
      raise errors.InputError(
        f"{key}={value} is not a multiple of log_every={config.log_every}, "
        "the number of steps in one compiled call."
      )
  if config.best in classification.SCALARS:
    few, many = sorted((config.eval_every, config.save_every))
    if many % few:
      raise errors.InputError(
        f"best={config.best}: with eval_every={config.eval_every} and "
        f"save_every={config.save_every}, few checkpoints are evaluated. Make "
        "one of them a multiple of the other."
      )
  if task.generates:
    kid.check(config)
