"""Tests of study/networks.py and plan.py: which arms a network can have."""

import pytest

from configs import study
from skinjax.runtime import errors
from skinjax.study import networks, plan


def _head(changes=(), **own):
  config = study.get_config("dataset=toy,quick")
  config.parallel = "one"
  config.network.head.update_from_flattened_dict(own)
  config.arm.mine = study.arm("in words", **dict(changes))
  return networks.unit_config(config, "head", "mine", -1, 0)


def test_a_head_ignores_options_of_other_networks():
  changes = {
    "augment": {"jitter": 0.3, "orientations": False},
    "model": {"dropout": 0.1},
    "train": {"sampler": "balanced"},
  }
  made = _head(changes)
  assert made.train.sampler == "balanced"
  assert made.augment.to_dict() == {"orientations": False}
  assert "model" not in made
  networks.check(made)


def test_an_arm_that_changes_nothing_of_a_network_is_left_out():
  config = study.get_config("dataset=toy,quick")
  config.networks = ("head", "resnet")
  config.arm.mine = study.arm("in words", model={"dropout": 0.5})
  config.arms = ("classical", "mine", "dose_05")
  assert plan.left_out(config, "head") == {
    "mine": "model.dropout has no effect on it"
  }
  assert plan.arms_of(config, "head") == ["classical", "dose_05"]
  config.network.resnet.arms = ("classical", "mine")
  assert plan.arms_of(config, "resnet") == ["classical", "mine"]
  # Arms that are selected by name are not left out silently.
  why = {"dose_05": "network.resnet.arms does not name it"}
  assert plan.left_out(config, "resnet") == why
  config.arms = ()
  assert plan.left_out(config, "resnet") == {}
  assert {"real", "classical", "dose_05"} <= set(plan.arms_of(config, "head"))


def test_duplicates_change_nothing_of_a_balanced_head():
  config = study.get_config("dataset=ham10000")
  left_out = plan.left_out(config, "head")
  assert left_out["duplicates"] == "balanced batches repeat real images already"
  config.network.efficientnet.arms = ()
  assert "duplicates" in plan.arms_of(config, "efficientnet")
  config.arm.more = study.arm("in words", added="duplicates")
  assert "more" in plan.arms_of(config, "head")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"loss": {"balanc": "weights"}},
      r"Unknown key of arm mine, 'loss.balanc'. Did you mean 'loss.balance'\?",
    ),
    ({"trian": {"sampler": "natural"}}, r"'trian.sampler'. Did you mean 'trai"),
  ],
)
def test_a_head_refuses_options_that_no_network_has(changes, message):
  with pytest.raises(errors.InputError, match=message):
    _head(changes)


@pytest.mark.parametrize(
  ("own", "message"),
  [
    ({"train.sampler": "even"}, "Unknown train.sampler 'even'"),
    (
      {"loss.balance": "logit_ajustment"},
      "Unknown loss.balance 'logit_ajustment'. Did you mean 'logit_adjustment'",
    ),
    ({"loss.balance": "weights"}, "Unknown loss.balance 'weights'"),
    ({"weight_decay": 0.0}, "weight_decay=0.0: a number above 0"),
    (
      {"loss.balance": "logit_adjustment", "train.sampler": "balanced"},
      "loss.balance=logit_adjustment and train.sampler=balanced both balance",
    ),
  ],
)
def test_a_head_that_cannot_be_fitted_is_refused(own, message):
  with pytest.raises(errors.InputError, match=message):
    networks.check(_head(**own))
