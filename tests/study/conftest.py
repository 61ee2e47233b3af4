import numpy as np
import pytest

from skinjax.study import summary

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
_LESIONS = (14, 16, 20, 6, 20, 60, 12)


def _arm(rng, labels, skill, num_seeds):
  logits = rng.normal(size=(num_seeds, len(labels), 7))
  logits += skill * np.eye(7)[labels]
  exponentials = np.exp(logits)
  return exponentials / exponentials.sum(-1, keepdims=True)


@pytest.fixture(scope="session")
def make_summary():
  """A made-up study; skills of the arms decide how it ends."""

  def make(synthetic=2.0, num_seeds=3, class_names=CLASSES, about=(), **change):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), 2 * np.array(_LESIONS))
    arguments = {
      "about": summary.About(
        **{
          "name": "demo",
          "data": "toy_lesions, 32×32",
          "drawn": True,
          "split": "fold 0 of 5",
          "compute": "2,000 steps of 64 images",
          "command": "python main.py --config=configs/study.py:quick",
          "config": {"seed": 0, "rates": (0.1, float("nan"))},
          "original": summary.ORIGINAL,
          **dict(about),
        }
      ),
      "arms": {
        "real": _arm(rng, labels, 1.0, num_seeds),
        "classical": _arm(rng, labels, 2.0, num_seeds),
        "synthetic": _arm(rng, labels, synthetic, num_seeds),
      },
      "labels": labels,
      "groups": np.arange(len(labels)) // 2,
      "class_names": class_names,
      "train_counts": np.array([30, 50, 90, 12, 90, 600, 14]),
      "descriptions": {"real": "bare training"},
      "num_synthetic": {"synthetic": {class_names[3]: 1500}},
      "pairs": [("synthetic", "classical"), ("synthetic", "real")],
      "num_resamples": 200,
    }
    return summary.summarize(**(arguments | change))

  return make


@pytest.fixture(scope="session")
def study(make_summary):
  return make_summary()
