"""Tests of training/loop.py, on tiny networks."""

import dataclasses
import functools
import json
import shutil

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from skinjax.data import sources
from skinjax.runtime import checkpoint, errors
from skinjax.training import loop, schedules, tasks, trained, writer
from tests import shrunk


def _train(name, path, **changes):
  name, *arguments = name.removesuffix(_FEW).split(":")
  arguments = ",".join(["dataset=toy", *arguments])
  config = shrunk.config(name, arguments, **changes)
  task = tasks.named(name)
  return loop.train(task, config, path, shrunk.dataset())


def _files(path):
  return {
    str(p.relative_to(path)): p.read_bytes()
    for p in sorted(path.rglob("*"))
    if p.is_file()
  }


def _same(a, b):
  a, b = shrunk.leaves(a), shrunk.leaves(b)
  assert a.keys() == b.keys()
  for name, x in a.items():
    np.testing.assert_array_equal(x, b[name], err_msg=name)


_FINE_TUNED = "classifier:network=efficientnet"
_PROJECTED, _GROWN = "acgan:variant=projected", "progan:variant=projected"
_SLOW, _FADE = pytest.mark.slow, "growth__fade_images"
_FEW = " of few images"
# A run that ends at step 8, saved at 4 and 8, with lines every 2 steps.
_RUN = {"train__steps": 8, "save_every": 4, "eval_every": 4}
# ProGAN grows at step 2 and is fading in at all later ones.
_PARAMETERS = (
  "acgan",
  "classifier",
  pytest.param("progan", marks=_SLOW),
)


def _changes(name):
  more = {
    "acgan": {"sample_every": 8},
    _PROJECTED: {"sample_every": 8},
    _GROWN: {"sample_every": 8, "growth__first_size": 8, _FADE: 48},
    "classifier": {},
    _FINE_TUNED: {"augment__test_orientations": False},
    "progan": {"sample_every": 8, _FADE: 48},
  }
  few = shrunk.FEW if name.endswith(_FEW) else {}
  return _RUN | more[name.removesuffix(_FEW)] | few


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  """Each task's run from begin to end: its workdir and result."""
  runs = {}

  def run(name):
    if name not in runs:
      path = tmp_path_factory.mktemp(name)
      runs[name] = path, _train(name, path, **_changes(name))
    return runs[name]

  return run


@pytest.mark.parametrize("name", _PARAMETERS)
def test_a_run_leaves_everything_that_it_should(undisturbed, name):
  path, result = undisturbed(name)
  assert int(result.state.step) == 8
  lines = shrunk.lines(path)
  trained = [x["step"] for x in lines if any(k[:6] == "train/" for k in x)]
  scored = [x["step"] for x in lines if any(k[:11] == "validation/" for k in x)]
  assert trained == [2, 4, 6, 8]
  assert scored == [4, 8]
  assert all(v is not None for line in lines for v in line.values())
  (last,) = (x for x in lines if x["step"] == 8 and "validation/accuracy" in x)
  last = {k[11:]: v for k, v in last.items() if k != "step"}
  assert last == result.metrics
  assert {f"recall/{n}" for n in shrunk.CLASSES} <= last.keys()
  # The first call compiles and is not timed, at each resolution.
  timed = {"progan": [6, 8]}.get(name, [4, 6, 8])
  assert [x["step"] for x in shrunk.lines(path, "timing")] == timed
  files = set(_files(path))
  assert {"config.json", "data.json", "checkpoints/8/manifest.json"} <= files
  assert "parameters.txt" in files
  assert any(f.startswith("tensorboard/events") for f in files)
  pictures = {f for f in files if f.startswith("samples/")}
  # The last step's, and that of the step at which a resolution ends.
  steps = {"acgan": (8,), "progan": (2, 8), "classifier": ()}[name]
  wanted = {f"samples/{step:08d}.png" for step in steps}
  assert pictures == wanted


class _Killed(BaseException):
  """Not an Exception, as a signal is not."""


# Both go on from step 4, so one task shows that a checkpoint may be unfinished.
@pytest.mark.parametrize(
  ("name", "when"),
  [
    ("acgan", "between checkpoints"),
    ("classifier", "between checkpoints"),
    ("classifier", "in a checkpoint"),
    pytest.param(_FINE_TUNED, "between checkpoints", marks=_SLOW),
    pytest.param("progan", "between checkpoints", marks=pytest.mark.slow),
    pytest.param(_PROJECTED, "between checkpoints", marks=_SLOW),
    pytest.param(_GROWN, "between checkpoints", marks=pytest.mark.slow),
    pytest.param("acgan" + _FEW, "between checkpoints", marks=_SLOW),
  ],
)
def test_resuming_ends_where_an_undisturbed_run_does(
  undisturbed, tmp_path, monkeypatch, four_scales, name, when
):
  scalars_before = writer.Writer.scalars
  write_json_before = checkpoint.files.write_json
  if when == "between checkpoints":

    def scalars(self, step, values):
      scalars_before(self, step, values)
      if step == 6:
        raise _Killed

    monkeypatch.setattr(writer.Writer, "scalars", scalars)
  else:

    def write_json(path, value):
      if path.name == "manifest.json" and path.parent.name == "8":
        raise _Killed
      write_json_before(path, value)

    monkeypatch.setattr(checkpoint.files, "write_json", write_json)
  with pytest.raises(_Killed):
    _train(name, tmp_path, **_changes(name))
  monkeypatch.setattr(writer.Writer, "scalars", scalars_before)
  monkeypatch.setattr(checkpoint.files, "write_json", write_json_before)
  assert shrunk.lines(tmp_path)[-1]["step"] in (6, 8)
  result = _train(name, tmp_path, **_changes(name))
  path, wanted = undisturbed(name)
  _same(result.state, wanted.state)
  assert result.metrics == wanted.metrics
  metrics = [(p / "metrics.jsonl").read_bytes() for p in (tmp_path, path)]
  assert metrics[0] == metrics[1]


# ProGAN's shorter run ends while its last resolution is there in full.
@pytest.mark.parametrize(
  ("name", "steps", "fade"),
  [("acgan", 4, {}), pytest.param("progan", 6, {_FADE: 16}, marks=_SLOW)],
)
def test_a_lengthened_training_equals_one_that_was_as_long_at_once(
  undisturbed, tmp_path, name, steps, fade
):
  changes = _changes(name) | fade
  path, wanted = undisturbed(name)
  if fade:
    path = tmp_path / "at_once"
    wanted = _train(name, path, **changes)
  own = tmp_path / "run"
  _train(name, own, **changes | {"train__steps": steps})
  result = _train(name, own, **changes)
  _same(result.state, wanted.state)
  assert result.metrics == wanted.metrics
  # What was evaluated and drawn at the end of the shorter one stays.
  trained = lambda path: [x for x in shrunk.lines(path) if "train/d_loss" in x]
  assert trained(own) == trained(path) != []
  assert json.loads((own / "config.json").read_text())["train"]["steps"] == 8


def test_a_training_is_not_shortened_below_its_steps_so_far(tmp_path):
  _stub_run(tmp_path, sample=True, train__steps=6)
  message = "train.steps was 6, is 4, and 6 are already done"
  with pytest.raises(errors.InputError, match=message):
    _stub_run(tmp_path, sample=True, train__steps=4)
  # Steps that were planned and not done may be taken away.
  with pytest.raises(errors.InputError, match="has diverged"):
    _stub_run(tmp_path, bad_step=9, sample=True, train__steps=20)
  result = _stub_run(tmp_path, sample=True, train__steps=10)
  assert int(result.state.step) == 10


def test_a_schedule_over_all_steps_is_not_lengthened(undisturbed, tmp_path):
  path, _ = undisturbed("classifier")
  before = _files(path)
  message = (
    "train.steps was 8, is 12, and the learning rate decays over all steps.: "
    "use another directory"
  )
  with pytest.raises(errors.InputError, match=message):
    _train("classifier", path, **_changes("classifier") | {"train__steps": 12})
  after = _files(path)
  assert {**after, ".lock": b""} == {**before, ".lock": b""}
  # Nothing depends on the length of what has no checkpoint yet.
  (tmp_path / "run").mkdir()
  shutil.copy(path / "config.json", tmp_path / "run")
  result = _train("classifier", tmp_path / "run")
  assert int(result.state.step) == 4


def test_a_finished_run_is_left_as_it_is(undisturbed):
  path, wanted = undisturbed("classifier")
  before = _files(path)
  result = _train("classifier", path, **_changes("classifier"))
  _same(result.state, wanted.state)
  assert result.metrics == wanted.metrics
  after = _files(path)
  for name in before:
    if not name.startswith((".", "tensorboard/")):
      assert after[name] == before[name], name


def test_the_seed_decides(undisturbed, tmp_path):
  _, wanted = undisturbed("classifier")
  result = _train("classifier", tmp_path, **_RUN, seed=1)
  a, b = shrunk.leaves(result.state), shrunk.leaves(wanted.state)
  assert all((a[k] != b[k]).any() for k in a if "kernel" in k)


def test_a_run_with_another_log_every_does_not_run_past_its_end(
  tmp_path, monkeypatch
):
  with monkeypatch.context() as patch:
    patch.setattr(writer.Writer, "pause", _kill)
    with pytest.raises(_Killed):
      _stub_run(tmp_path, train__steps=6)
  # 2 is no multiple of 3, and step 5 would be followed by step 8.
  cadence = {"log_every": 3, "eval_every": 3, "save_every": 3}
  message = "log_every=3 does not lead from step 2, .* to step 6: .* divides 2"
  with pytest.raises(errors.InputError, match=message):
    _stub_run(tmp_path, train__steps=6, **cadence)
  cadence = {"log_every": 1, "eval_every": 3, "save_every": 3}
  result = _stub_run(tmp_path, train__steps=6, **cadence)
  assert int(result.state.step) == 6
  trained = [x["step"] for x in shrunk.lines(tmp_path) if "train/loss" in x]
  assert trained == [2, 3, 4, 5, 6]


def _kill(*_, **__):
  raise _Killed


@flax.struct.dataclass
class _State:
  step: jax.Array


def _train_step(
  state, batch, key, *, config, info, phase, axis_name, frozen, bad_step=None
):
  step = state.step + 1
  loss = 1.0 * step
  if bad_step is not None:
    loss = jnp.where(step == bad_step, jnp.nan, loss)
  images = 1.0 * len(batch["label"])
  metrics = {"fine": 1.0 * step, "loss": loss, "images": images}
  return state.replace(step=step), metrics


def _eval_step(state, batch, *, config, info, phase, frozen):
  means = jnp.mean(batch["image"].astype(float), axis=(1, 2))
  probabilities = jax.nn.softmax(means / 40)
  return {"probabilities": probabilities, "brightness": means[:, 0] / 255}


# Its state counts, and its predictions are read off images.
_STUB = tasks.Task(
  name="stub",
  title="stub",
  check=lambda config: None,
  init_state=lambda config, info, key, pretrained=None: _State(
    jnp.zeros((), jnp.int32)
  ),
  train_step=_train_step,
  eval_step=_eval_step,
)
_GENERATOR = dataclasses.replace(
  _STUB,
  draw=lambda state, latents, labels, **_: jnp.zeros(
    (len(labels), 16, 16, 3), jnp.uint8
  ),
)


def _stub_run(path, bad_step=None, dataset=None, sample=False, **changes):
  stub = _GENERATOR if sample else _STUB
  if bad_step is not None:
    bad = functools.partial(_train_step, bad_step=bad_step)
    stub = dataclasses.replace(stub, train_step=bad)
  config = shrunk.config("acgan" if sample else "classifier", **changes)
  return loop.train(stub, config, path, dataset or shrunk.dataset())


def test_each_phase_has_one_program_and_its_own_batches(tmp_path, monkeypatch):
  plain, compiled = loop.compile_steps, []

  def compile_steps(task, config, info, phase):
    compiled.append(phase.level)
    return plain(task, config, info, phase)

  growing = dataclasses.replace(
    _STUB,
    phases=lambda config: (
      schedules.Phase(0, 8, 0, 4, 0, 0, 1e-3, 1.0),
      schedules.Phase(1, 6, 4, 12, 32, 0, 1e-3, 1.0),
    ),
  )
  monkeypatch.setattr(loop, "compile_steps", compile_steps)
  config = shrunk.config("classifier", train__steps=12)
  loop.train(growing, config, tmp_path, shrunk.dataset())
  lines = shrunk.lines(tmp_path)
  images = [x["train/images"] for x in lines if "train/loss" in x]
  assert images == [8, 8, 6, 6, 6, 6]
  assert compiled == [0, 1]


def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(tmp_path):
  message = r"loss was nan at step 5: .* checkpoint is that of step 4;"
  with pytest.raises(errors.InputError, match=message):
    _stub_run(tmp_path, bad_step=5, train__steps=8)
  assert shrunk.lines(tmp_path)[-1]["step"] == 4
  # Lowering the rate is what the message asks for, but the workdir is intact.
  result = _stub_run(tmp_path, train__steps=8)
  assert int(result.state.step) == 8


@pytest.mark.parametrize(
  "key", ["train__steps", "eval_every", "save_every", "sample_every"]
)
@pytest.mark.parametrize(
  ("value", "fault"), [(3, "not a multiple of log_every"), (0, "less than 1")]
)
def test_cadences_are_multiples_of_the_calls_steps(tmp_path, key, value, fault):
  name = key.replace("__", ".")
  with pytest.raises(errors.InputError, match=f"{name}={value} is {fault}"):
    _stub_run(tmp_path, sample=True, **{key: value})
  assert not list(tmp_path.iterdir())


def test_the_best_of_few_evaluated_checkpoints_is_refused(tmp_path):
  message = "eval_every=4 and save_every=6, few checkpoints are evaluated"
  config = {"best": "accuracy", "log_every": 2, "eval_every": 4}
  with pytest.raises(errors.InputError, match=message):
    _stub_run(tmp_path, save_every=6, train__steps=12, **config)
  assert not list(tmp_path.iterdir())


def _steps_of_actions(path, **changes):
  _stub_run(
    path,
    sample=True,
    **{
      "train__steps": 16,
      "eval_every": 8,
      "save_every": 8,
      "sample_every": 8,
      **changes,
    },
  )
  lines = shrunk.lines(path)
  return {
    "log_every": [x["step"] for x in lines if "train/loss" in x],
    "eval_every": [x["step"] for x in lines if "validation/accuracy" in x],
    "save_every": sorted(
      int(p.name) for p in (path / "checkpoints").iterdir() if p.name.isdigit()
    ),
    "sample_every": sorted(int(p.stem) for p in (path / "samples").iterdir()),
  }


def test_each_cadence_changes_its_own_action(tmp_path):
  plain = _steps_of_actions(tmp_path / "plain")
  assert plain == {
    "log_every": list(range(2, 17, 2)),
    "eval_every": [8, 16],
    "save_every": [8, 16],
    "sample_every": [8, 16],
  }
  for key, value, steps in (
    ("log_every", 8, [8, 16]),
    ("eval_every", 4, [4, 8, 12, 16]),
    ("save_every", 4, [12, 16]),  # the latest two are kept
    ("sample_every", 4, [4, 8, 12, 16]),
  ):
    changed = _steps_of_actions(tmp_path / key, **{key: value})
    assert changed == plain | {key: steps}


def test_the_last_step_is_evaluated_saved_and_drawn(tmp_path):
  changes = dict.fromkeys(("eval_every", "save_every", "sample_every"), 12)
  last = _steps_of_actions(tmp_path, **changes)
  for key in changes:
    assert last[key] == [12, 16]


def test_a_line_is_the_mean_of_its_steps(tmp_path):
  _stub_run(tmp_path, log_every=4, eval_every=4, save_every=4, train__steps=8)
  lines = shrunk.lines(tmp_path)
  losses = [x["train/loss"] for x in lines if "train/loss" in x]
  assert losses == [2.5, 6.5]  # of 1, 2, 3, 4 and of 5, 6, 7, 8


def test_the_best_checkpoint_is_that_of_its_own_evaluation(tmp_path):
  # Saved twice as often as evaluated: what is saved between two evaluations
  # has no score, least of all the one before's.
  def eval_step(state, batch, *, config, info, phase, frozen):
    # Right at step 4, wrong afterwards.
    right = jax.nn.one_hot(batch["label"], 3)
    wrong = jax.nn.one_hot((batch["label"] + 1) % 3, 3)
    return {"probabilities": jnp.where(state.step == 4, right, wrong)}

  stub = dataclasses.replace(_STUB, eval_step=eval_step)
  config = shrunk.config(
    "classifier",
    train__steps=16,
    eval_every=4,
    save_every=2,
    best="balanced_accuracy",
  )
  loop.train(stub, config, tmp_path, shrunk.dataset())
  kept = [
    int(p.name)
    for p in (tmp_path / "checkpoints").iterdir()
    if p.name.isdigit()
  ]
  assert sorted(kept) == [4, 14, 16]


def test_evaluation_counts_each_example_once():
  rng = np.random.default_rng(0)
  count = 300  # more than a batch, and no multiple of it
  labels = np.sort(rng.integers(0, 3, count)).astype(np.int32)
  images = rng.integers(0, 255, (count, 16, 16, 3)).astype(np.uint8)
  images[np.arange(count), ..., labels] //= 2
  images[:250, ..., 1] //= 2  # unlike the last ones
  ids = np.arange(count).astype(str)
  split = sources.Split(images, labels, ids, ids)
  config, info = shrunk.frozen("classifier"), shrunk.dataset().info
  got = trained.evaluate(_STUB, None, split, config=config, info=info)
  logits = images.mean((1, 2)) / 40
  predicted = logits.argmax(1)
  assert got["accuracy"] == pytest.approx(
    sklearn_metrics.accuracy_score(labels, predicted)
  )
  recalls = sklearn_metrics.recall_score(labels, predicted, average=None)
  for name, recall in zip(shrunk.CLASSES, recalls, strict=True):
    assert got[f"recall/{name}"] == pytest.approx(recall)
  wanted = images[..., 0].mean((1, 2)).mean() / 255
  assert got["brightness"] == pytest.approx(wanted, rel=1e-5)


def test_runs_that_differ_in_their_seed_share_their_programs(tmp_path):
  traced = []

  def once(function):
    def count(*arguments, **options):
      traced.append(function.__name__)
      return function(*arguments, **options)

    return count

  task = tasks.named("classifier")
  steps = ("init_state", "train_step", "eval_step")
  task = dataclasses.replace(task, **{n: once(getattr(task, n)) for n in steps})
  dataset, counts, states = shrunk.dataset(), [], []
  for seed in range(3):
    config = shrunk.config("classifier", "dataset=toy", seed=seed)
    found = loop.train(task, config, tmp_path / str(seed), dataset)
    counts.append(len(traced))
    states.append(shrunk.leaves(found.state.average))
  assert set(traced) == set(steps)
  assert counts == [len(traced)] * 3
  kernels = [x for x in states[0] if "kernel" in x]
  assert kernels
  for name in kernels:
    assert np.any(states[0][name] != states[1][name])
