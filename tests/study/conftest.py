import numpy as np
import pytest

from configs import study as config
from skinjax.study import scoring, summary

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
LESIONS = np.array((6, 7, 8, 3, 8, 24, 5))  # of a class in a fold's test split
SKILLS = {"real": 1.0, "classical": 2.0, "duplicates": 1.9, "capped_25": 2.6}
SKILLS |= {"dose_025": 2.1, "uncapped": 2.5, "dose_2": 2.4}
PARTS = {"real_10": 0.8, "real_25": 1.2, "real_50": 1.6, "real_75": 1.8}
_TURNED = {"augment": {"orientations": True}}
RECIPES = {
  "real": config.arm("real images as they are"),
  "classical": config.arm("flipped and turned", **_TURNED),
  "duplicates": config.arm("images repeated", added="duplicates", **_TURNED),
  "capped_25": config.arm(
    "a quarter of the draws at most", added="synthetic", share=0.25, **_TURNED
  ),
}
for _name, _dose in (("dose_025", 0.25), ("uncapped", 1.0), ("dose_2", 2.0)):
  RECIPES[_name] = config.arm(
    f"dose {_dose}", added="synthetic", dose=_dose, **_TURNED
  )
for _name in PARTS:
  RECIPES[_name] = config.arm(
    "a part of the lesions", fraction=int(_name[5:]) / 100, **_TURNED
  )
RECIPES = {name: made.to_dict() for name, made in RECIPES.items()}
NETWORKS = {
  "head": {"pretrained": ["EfficientNet-Lite0"], "left_out": {}},
  "resnet": {"pretrained": [], "left_out": {}},
}
EXTERNAL = np.repeat(np.arange(6), 6)  # labels, without the last class


def predicted(rng, labels, skill, seeds):
  logits = rng.normal(size=(seeds, len(labels), 7))
  exponentials = np.exp(logits + skill * np.eye(7)[labels])
  return exponentials / exponentials.sum(-1, keepdims=True)


def fold_done(number, predictions, choices, **change):
  """Return a scored fold with these predictions, and two images of a lesion."""
  labels = np.repeat(np.arange(7), 2 * LESIONS)
  made = scoring.FoldDone(
    number=number,
    labels=labels,
    groups=1000 * number + np.arange(len(labels)) // 2,
    train_counts=np.array([30, 50, 90, 12, 90, 600, 14]),
    train_groups=np.array([20, 30, 60, 8, 50, 500, 10]),
    choices=choices,
    predictions=predictions,
    external={},
    added=np.array([15, 25, 45, 6, 45, 0, 7]),
  )
  return made._replace(**change)


def chosen(number, arms):
  """Return the choices of a fold, by turns where there are several arms."""
  turn = number % 2
  return {
    "without": ("duplicates", "classical")[turn or "duplicates" not in arms],
    "with": ("capped_25", "uncapped")[turn and "uncapped" in arms],
    "seeds": [0, 1],
    "validation": {arm: 0.5 + 0.01 * i for i, arm in enumerate(arms)},
  }


def make_folds(numbers, seeds, networks, skills, more=0):
  """Return folds of a made-up study; chosen arms have `more` seeds."""
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(7), 2 * LESIONS)
  found = []
  for number in numbers:
    choices, predictions, external = {}, {}, {}
    for network in networks:
      arms = skills | (PARTS if network == "head" else {})
      choices[network] = chosen(number, list(skills))
      for arm, skill in arms.items():
        picked = arm in choices[network].values()
        count = seeds + more * picked
        predictions[network, arm] = predicted(rng, labels, skill, count)
        external[network, arm] = predicted(rng, EXTERNAL, skill, seeds)
    found.append(fold_done(number, predictions, choices, external=external))
  return found


@pytest.fixture(scope="session")
def make_summary():
  """Return a function that summarizes a made-up study by its arms' skills."""

  def make(
    skills=(),
    numbers=(0, 1, 2),
    seeds=2,
    networks=("head", "resnet"),
    arms=tuple(SKILLS),
    about=(),
    folds=None,
    **change,
  ):
    skills = {arm: (SKILLS | dict(skills))[arm] for arm in arms}
    folds = folds or make_folds(numbers, seeds, networks, skills)
    used = {arm for fold in folds for _, arm in fold.predictions}
    arguments = {
      "about": summary.About(
        **{
          "name": "demo",
          "data": "toy_lesions, 32×32",
          "drawn": True,
          "split": "3 of 5 folds, by lesion",
          "compute": "2,000 steps of 64 images",
          "command": "python main.py --config=configs/study.py:quick",
          "config": {"seed": 0, "rates": (0.1, float("nan"))},
          "original": summary.ORIGINAL,
          "versions": {"jax": "0.4.38"},
          "hardware": "2 CPU cores",
          "minutes": dict.fromkeys(networks, 61.5),
          **dict(about),
        }
      ),
      "folds": folds,
      "class_names": CLASSES,
      "networks": {name: NETWORKS[name] for name in networks},
      "arms": {name: r for name, r in RECIPES.items() if name in used},
      "verdict_network": networks[-1],
      "seeds": seeds,
      "num_resamples": 200,
    }
    return summary.summarize(**(arguments | change))

  return make


@pytest.fixture(scope="session")
def study(make_summary):
  return make_summary()


@pytest.fixture(scope="session")
def small(make_summary):
  """One split, one network, no learning curve and no doses."""
  return make_summary(
    numbers=(-1,),
    networks=("resnet",),
    arms=("real", "classical", "duplicates", "capped_25"),
  )
