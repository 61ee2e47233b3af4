"""Tests of configs/: the arguments, and that every key is read."""

import contextlib
import importlib
import itertools
import pathlib

import jax
import ml_collections
import pytest

from configs import common
from skinjax import run
from skinjax.data import datasets, sources
from skinjax.metrics import features
from skinjax.runtime import errors, workdir
from skinjax.training import loop
from skinjax.training.tasks import progan
from tests import shrunk
from tests.conftest import ROOT

NAMES = sorted(
  path.stem
  for path in pathlib.Path(ROOT, "configs").glob("*.py")
  if path.stem not in ("common", "__init__")
)


# Exporting a network and classifying images need no data set.
OF_DATA = sorted(set(NAMES) - {"export", "predict"})


def _get(name, text=""):
  return importlib.import_module(f"configs.{name}").get_config(text)


@pytest.mark.parametrize("dataset", ["ham10000", "mnist", "toy", "folder"])
@pytest.mark.parametrize("quick", ["", ",quick"])
@pytest.mark.parametrize("name", OF_DATA)
def test_every_config_takes_the_common_arguments(name, dataset, quick):
  config = _get(name, f"dataset={dataset},size=32{quick}")
  assert config.data.name == {"toy": "toy_lesions"}.get(dataset, dataset)
  assert config.data.size == 32
  keys = {"manual_dir", "data_dir", "classes", "fold", "num_folds", "fold_seed"}
  keys.add("folder")
  assert keys <= set(config.data)
  assert {"seed", "task"} <= set(config)
  # A size of 0 is the data set's usual one.
  usual = _get(name, f"dataset={dataset}{quick}").data.size
  sizes = {"ham10000": 64, "mnist": 32, "toy": 32, "folder": 64}
  assert usual == sizes[dataset]
  # Tasks get frozen configs and need them to be hashable.
  hash(ml_collections.FrozenConfigDict(config))


@pytest.mark.parametrize("name", sorted(set(OF_DATA) - {"split"}))
def test_quick_configs_are_less_work(name):
  # Quick has the same discriminator for this data set.
  texts = ("dataset=toy", "dataset=toy,quick")
  plain, quick = (workdir.flat(_get(name, t).to_dict()) for t in texts)
  assert plain.keys() == quick.keys()
  counts = [
    key
    for key in plain
    if key.split(".")[-1] in ("steps", "seeds", "per_class")
  ]
  assert any(quick[key] < plain[key] for key in counts)
  assert all(quick[key] <= plain[key] for key in counts)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("datset=mnist", "argument 'datset'. Did you mean 'dataset'"),
    ("fast", "There are: dataset, size, quick, network, upright"),
    ("size=big", "Config argument size='big': int is expected"),
    ("size", "size='': int is expected"),
    ("quick=yes", "quick='yes': bool is expected"),
    ("dataset=minst", "Unknown dataset 'minst'. Did you mean 'mnist'"),
  ],
)
def test_wrong_arguments_are_refused(text, message):
  with pytest.raises(errors.InputError, match=message):
    _get("classifier", text)


def test_arguments():
  @common.arguments(count=3, share=0.5, name="a", on=False)
  def get_config(**values):
    """Words."""
    return values

  assert get_config() == {"count": 3, "share": 0.5, "name": "a", "on": False}
  assert get_config("on,count=7,name=b=c,share=1") == {
    "count": 7,
    "share": 1.0,
    "name": "b=c",
    "on": True,
  }
  assert get_config("on=False")["on"] is False
  assert get_config("on=True,")["on"] is True
  assert get_config.__doc__ == "Words."


@pytest.mark.parametrize("name", OF_DATA)
def test_nothing_flips_upright_images(name):
  turns = {"orientations", "test_orientations", "discriminator_turns"}
  usual, upright = (
    {
      k: v
      for k, v in workdir.flat(_get(name, t)).items()
      if k.split(".")[-1] in turns
    }
    for t in ("dataset=folder", "dataset=folder,upright")
  )
  assert not any(upright.values())
  assert usual.keys() == upright.keys()
  # These train nothing.
  assert any(usual.values()) == (name in _TRAINING)


@pytest.mark.parametrize("name", ["acgan", "progan", "progan_paper"])
def test_a_gan_keeps_the_checkpoint_of_the_least_kid(name):
  plain, quick = _get(name, "dataset=mnist"), _get(name, "dataset=mnist,quick")
  assert plain.best == "kid"
  assert plain.kid_every > 0
  assert (quick.best, quick.kid_every) == ("", 0)
  for config in (plain, quick):
    config.parallel = "one"
    loop.check(config)


@pytest.mark.parametrize("name", ["acgan", "progan"])
def test_a_projected_gan_is_not_evaluated_by_its_own_features(name):
  config = _get(name, "dataset=mnist,variant=projected")
  assert config.best == "kid_squeezenet"
  loop.check(config)
  config.best = "kid"
  with pytest.raises(errors.InputError, match="trained through Efficient"):
    loop.check(config)
  assert _get(name, "dataset=mnist,variant=projected,quick").best == ""


@pytest.mark.parametrize("gan", ["acgan", "progan"])
def test_photographs_get_a_projected_discriminator_by_default(gan):
  chosen = lambda text: _get(gan, text).model.discriminator
  for name in ("ham10000", "folder"):
    assert chosen(f"dataset={name}") == "projected"
    for text in (",quick", ",variant=paper"):
      assert chosen(f"dataset={name}{text}") == "own"
  assert chosen("dataset=mnist") == "own"
  text = f"dataset=ham10000,gan={gan}"
  assert _get("study", text).gan.model.discriminator == "projected"
  for other in ("original", "by_class"):
    assert _get(other, text).gan.model.discriminator == "own"


_TRAINING = sorted(set(OF_DATA) - {"split", "synthesize"})
_PARTS = ("gan", "network.resnet", "network.efficientnet", "training")


@pytest.mark.parametrize("quick", ["", ",quick"])
@pytest.mark.parametrize("name", _TRAINING)
def test_every_size_can_be_trained_at(name, quick):
  texts = [""]
  if name in ("study", "by_class"):
    texts = [",gan=acgan", ",gan=progan"]
  if name in ("acgan", "progan"):
    texts.append(",variant=projected")
  for size in (8, 16, 32, 64, 128, 256, 512, 1024):
    for dataset, gan in itertools.product(("mnist", "folder"), texts):
      config = _get(name, f"dataset={dataset},size={size}{quick}{gan}")
      config.parallel = "one"
      run.check(config)
      known = workdir.flat(config)
      parts = [part for part in _PARTS if f"{part}.train.steps" in known]
      for part in parts:
        composed = workdir.composed(config, part)
        loop.check(composed)
      if not parts:
        loop.check(config)


@pytest.mark.parametrize("name", ["acgan", "progan"])
def test_a_size_that_no_gan_takes_is_refused(name):
  with pytest.raises(errors.InputError, match=r"data\.size=48.* power"):
    loop.check(_get(name, "dataset=folder,size=48"))


def test_a_progan_has_as_many_images_of_its_last_size_at_every_size():
  # The lengths that results were measured with.
  assert _get("progan").train.steps == 3500
  assert _get("progan", "variant=paper").train.steps == 7600
  assert _get("progan", "dataset=mnist").train.steps == 12_000
  assert _get("progan", "variant=paper,size=128").train.steps == 13_200
  for size in (8, 16, 32, 64, 128, 256, 512):
    last = progan.phases(_get("progan", f"variant=paper,size={size}"))[-1]
    assert last.size == size
    images = (last.stop - last.first_step) * last.batch_size
    assert images - last.fade_images == 102_400


def test_orientations_are_not_for_digits():
  assert _get("acgan", "dataset=ham10000").augment.orientations
  assert not _get("acgan", "dataset=mnist").augment.orientations


# Keys that a study sets in its parts, or takes from them.
_SHARED = {"seed", "parallel", "data", "arms"}


def _leaves(config):
  """Return each leaf as the keys of its section, and its own."""
  found = set()
  for key, value in config.items():
    if isinstance(value, dict):
      found |= _leaves(value)
    else:
      found.add((frozenset(config) - _SHARED, key))
  return found


@contextlib.contextmanager
def _recorded():
  """Collect the leaves that are read by name; copying reads none."""
  read = set()

  def recording(plain):
    def method(self, name, *default):
      value = plain(self, name, *default)
      read.add((frozenset(self.keys()) - _SHARED, name))
      return value

    return method

  kind = ml_collections.ConfigDict
  with pytest.MonkeyPatch.context() as patch:
    for name in ("__getattr__", "get"):
      patch.setattr(kind, name, recording(getattr(kind, name)))
    yield read


# Shrunk GANs measure no distance by default, and many keys belong to options
# that are off by default.
_DISTANCE = {"kid_every": 2, "best": "kid"} | shrunk.FEW
_PROJECTED = "acgan:variant=projected"
_IN_PART = {f"gan__{key}": value for key, value in _DISTANCE.items()}
_MEASURED = {
  "acgan": _DISTANCE,
  _PROJECTED: _DISTANCE | {"best": "kid_squeezenet", "loss__penalty": "none"},
  "progan": _DISTANCE,
  "study": _IN_PART,
  "by_class": _IN_PART,
}


@pytest.fixture(scope="module")
def shrunk_run(toy_dir, tmp_path_factory):
  """Run a shipped config, shrunk; return its unread leaves."""
  root, unread_of = tmp_path_factory.mktemp("configs"), {}

  def unread_leaves(name, more=False, **changes):
    if name in unread_of and not more:
      return unread_of[name]
    if name in ("synthesize", "evaluate"):
      for other in ("acgan", "classifier"):
        unread_leaves(other)
      place = lambda task: str(root / task)
      changes |= {
        "generator": place("acgan"),
        "classifier": place("classifier"),
      }
    changes |= _MEASURED.get(name, {})
    fold = {"folds": (0,)} if name == "study" else {"data__fold": 0}
    changes |= {"data__data_dir": toy_dir, **fold}
    config, *arguments = name.split(":")
    arguments = ",".join(["dataset=toy", *arguments])
    config = shrunk.config(config, arguments, **changes).unlock()
    if more:
      config.train.unheard_of = 1
    # Programs of other configs would be used without reading any of this one.
    loop._compiled.cache_clear()
    jax.clear_caches()
    load = datasets.load

    def tiny(data):  # reads data's leaves, but returns the tiny data
      # A generator of the tiny data has classes that the toys lack.
      load(ml_collections.ConfigDict(data.to_dict() | {"classes": ()}))
      return shrunk.dataset()

    with _recorded() as read, pytest.MonkeyPatch.context() as patch:
      if name != "by_class":  # its classes are not the tiny data's
        patch.setattr(datasets, "load", tiny)
      patch.setattr(features, "efficientnet", shrunk.extractor)
      patch.setattr(features, "squeezenet", shrunk.extractor)
      patch.setattr(sources, "cache_dir", lambda: str(root / "cache"))
      run.run(config, root / (f"{name}-more" if more else name))
    unread = {key for _, key in _leaves(config.to_dict()) - read}
    if not more:
      unread_of[name] = unread
    return unread

  return unread_leaves


_CHANGED = ("orientations", "jitter")
_TUNED = ("network", "dropout", "dtype", "input")
_LESS = {
  "study": {
    "networks": ("head", "resnet"),
    "arms": ("classical", "capped_25", "filtered"),
  },
  "by_class": {"data__classes": ("df",)},
  # Without this it reads no data.
  "synthesize": {"drop_copies": True},
}
# Keys that other tests read: those of a penalty, which no projected
# discriminator takes; of a user's folder, images of unknown origin, more seeds
# until an interval is narrow, an arm's changes, the page and the fine-tuned
# network (own_images_test, study_test, page_test, tasks/classifier_test); those
# of several classes.
_ELSEWHERE = {
  _PROJECTED: {"penalty_weight"},
  "study": {
    *("unknown_origin", "other_pretraining", "description", "seeds_most"),
    *(*_CHANGED, *_TUNED),
  },
  "by_class": {"class_on_fakes", "class_margin", "class_temperature"},
}


# quickstart has study's keys, progan_paper progan's, and those of predict and
# export are read in predict_test and export_test.
@pytest.mark.parametrize(
  "name",
  [
    *("acgan", "classifier", "synthesize"),
    *(
      pytest.param(n, marks=pytest.mark.slow)
      for n in ("by_class", "evaluate", "progan", "study", _PROJECTED)
    ),
  ],
)
def test_every_leaf_is_read(shrunk_run, four_scales, name):
  unread = shrunk_run(name, **_LESS.get(name, {}))
  assert unread == _ELSEWHERE.get(name, set())


@pytest.mark.parametrize(
  ("name", "other"), [("quickstart", "study"), ("progan_paper", "progan")]
)
def test_some_configs_have_the_keys_of_others(name, other):
  one, same = (_get(n, "dataset=mnist").to_dict() for n in (name, other))
  assert workdir.flat(one).keys() == workdir.flat(same).keys()


def test_an_unread_leaf_is_found(shrunk_run):
  assert shrunk_run("classifier", more=True) == {"unheard_of"}
