"""The plan of a study: its classifiers, and what was chosen.

`plan.json` in a study's workdir records the decisions made during the study,
each of them once: the network of the verdict before anything is trained, and
the arms to compare from validation lesions alone, before the test lesions of
their fold are predicted. Only `until`, the number of seeds, depends on test
lesions (see statistics.seeds_needed).

```
{
  verdict_network,
  choices: {network: {fold: {without: arm, with: arm, seeds: [int],
                             validation: {arm: balanced accuracy}}}},
  until: {half_width, first, folds: [int], seeds, reason}
}
```

`without` is the baseline arm, without synthetic images, and `with` the arm that
represents the generator. In each fold, they are the arms with the highest
balanced accuracy on its validation lesions, averaged over the first seeds.
"""

import collections
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from skinjax.metrics import classification
from skinjax.runtime import errors, files
from skinjax.runtime.progress import duration
from skinjax.study import arms, folds, networks, scoring, units

FILE = "plan.json"
# Seconds on two cores, used until a unit is done: of a head, and of a training
# step with 64 images at 64x64.
_HEAD_SECONDS = 25.0
_STEP_SECONDS = {"resnet": 0.2, "efficientnet": 0.3}
# The same for a step of a GAN, over all its sizes, by task and discriminator.
_GAN_STEP_SECONDS = {
  ("acgan", "own"): 0.35,
  ("acgan", "projected"): 0.6,
  ("progan", "own"): 0.45,
  ("progan", "projected"): 0.75,
}
_UNKNOWN_STEP_SECONDS = 0.5


def verdict_network(config) -> str:
  """Return the network whose classifiers give the verdict."""
  return config.verdict_network or config.networks[-1]


def other_pretraining(config, through: Iterable[str]) -> tuple[str, ...]:
  """Return those of pretrained networks that the verdict's network lacks.

  `through`: the networks that the generators of the images were trained
  through.
  """
  own = networks.pretrained(config, verdict_network(config))
  return tuple(sorted({*through} - {*own}))


def arms_of(config, network: str) -> list[str]:
  """List the arms that a network trains."""
  return [name for name, why in _asked(config, network).items() if not why]


def left_out(config, network: str) -> dict[str, str]:
  """Return the arms that a network cannot have, and why."""
  return {name: why for name, why in _asked(config, network).items() if why}


def _asked(config, network: str, asked: Sequence[str] = ()) -> dict[str, str]:
  """Map a network's requested arms to why it cannot have them, "" if it can.

  Without `asked`, they are those of the config. Arms that only other networks
  have are left out silently, unless the config asks for them by name.
  """
  asked = asked or config.arms or tuple(config.arm)
  own = config.network[network].arms or asked
  found = {n: networks.cannot(config, network, n) for n in asked if n in own}
  why = f"network.{network}.arms does not name it"
  return found | {n: why for n in config.arms if n not in own}


def recipes(config) -> dict[str, Any]:
  """Return the configs of all arms that any network trains, by name."""
  return {n: config.arm[n] for k in config.networks for n in arms_of(config, k)}


def possible(config) -> dict[str, Any]:
  """Return the configs of all arms that the networks could have, by name.

  They include those that a later run adds by `arms`; not those of networks that
  it adds, whose larger doses would cost all other studies more images.
  """
  return {
    name: config.arm[name]
    for network in config.networks
    for name, why in _asked(config, network, tuple(config.arm)).items()
    if not why
  }


def wanted(recipes: Mapping[str, Any], info) -> dict[str, np.ndarray]:
  """Return how many synthetic images arms need, [classes], by their names."""
  counts = np.array(info.class_counts)
  return {
    name: arms.wanted(arm, counts)
    for name, arm in recipes.items()
    if arms.is_synthetic(arm)
  }


def check(config) -> None:
  """Refuse a study with an invalid plan.

  Raises:
    InputError: an unknown network or arm, no arms to compare, or invalid
      numbers.
  """
  if not config.networks:
    raise errors.InputError("config.networks is empty: name at least one.")
  for network in config.networks:
    errors.require_known("network", network, config.network)
  errors.require_known(
    "verdict_network", verdict_network(config), config.networks
  )
  for name in config.arms:
    errors.require_known("arm", name, config.arm)
  if len(set(config.arms)) < len(config.arms):
    raise errors.InputError(f"config.arms={config.arms}: name each arm once.")
  for network in config.networks:
    for name in config.network[network].arms:
      errors.require_known(f"arm of {network}", name, config.arm)
    for name in arms_of(config, network):
      arms.check(name, config.arm[name])
      networks.check(networks.unit_config(config, network, name, -1, 0))
  _require_arms_to_compare(config, verdict_network(config))
  if config.seeds < 1:
    raise errors.InputError(f"seeds={config.seeds}: at least 1 is needed.")
  if config.until and config.seeds < 2:
    raise errors.InputError(
      f"until={config.until} needs at least 2 seeds: their spread determines "
      "how many more are needed."
    )
  numbers = folds.numbers(config)
  part = -1 not in numbers and len(numbers) < config.data.num_folds
  if config.until and part:
    raise errors.InputError(
      f"until={config.until} with folds={numbers}: all folds together "
      "determine how many seeds are needed. Run all folds, or set until=0."
    )
  if config.until and folds.by_seed(config):
    raise errors.InputError(
      f"until={config.until} adds seeds, and with {{seed}} in the path they "
      "have no images of their own: use until=0, and config.seeds=N with N "
      "folders."
    )


def _require_arms_to_compare(config, network: str) -> None:
  """Refuse a verdict without arms of both kinds to choose from."""
  gone = [f"{name} ({why})" for name, why in left_out(config, network).items()]
  but = f" It cannot have {', '.join(gone)}." if gone else ""
  for key, found in _candidates(config, network).items():
    if not found:
      raise errors.InputError(
        f"config.arms={config.arms}: the verdict of {network} needs an arm "
        f"{key} synthetic images.{but}"
      )


def _candidates(config, network: str) -> dict[str, list[str]]:
  return scoring.candidates(config.arm, arms_of(config, network))


def units_of(config, fold: int, seeds: Sequence[int]) -> list[units.Unit]:
  """List a fold's units, seed by seed, with the verdict's network last."""
  order = sorted(config.networks, key=lambda n: n == verdict_network(config))
  every = [
    units.canonical(config, units.Unit(network, arm, fold, seed))
    for network in order
    for seed in seeds
    for arm in arms_of(config, network)
  ]
  return list(dict.fromkeys(every))


def read(path: pathlib.Path) -> dict[str, Any]:
  """Read plan.json; what is not decided yet is empty."""
  decided = {"choices": {}, "until": {}}
  if (path / FILE).exists():
    decided |= files.read_json(path / FILE, "it records what was chosen")
  return decided


def choice(
  config, path: pathlib.Path, network: str, fold: int
) -> dict[str, Any] | None:
  """Return what was chosen in a fold; None if nothing was chosen yet.

  Raises:
    InputError: a chosen arm is not among the arms of the config.
  """
  found = read(path)["choices"].get(network, {}).get(str(fold))
  if found:
    for key in scoring.KEYS.values():
      if found.get(key) and found[key] not in arms_of(config, network):
        raise errors.InputError(
          f"{path / FILE} chose {found[key]} in fold {fold}: choices are made "
          "once, so config.arms must keep it."
        )
  return found


def choose(
  config,
  path: pathlib.Path,
  network: str,
  fold: int,
  validation: Mapping[str, Sequence[np.ndarray]],
  labels: np.ndarray,
) -> None:
  """Choose the arms to compare in a fold, unless they were chosen before.

  `validation` maps arms to the probabilities [images, classes] of the first
  seeds, for validation images with these labels.
  """
  scores = {
    arm: float(
      np.mean(
        [
          classification.scores(p, labels)["balanced_accuracy"]
          for p in of_seeds
        ]
      )
    )
    for arm, of_seeds in validation.items()
  }
  best = {
    kind: max(found, key=scores.get) if found else None
    for kind, found in _candidates(config, network).items()
  }
  with files.locked(path / ".plan.lock", wait=True):
    decided = read(path)
    of_network = decided["choices"].setdefault(network, {})
    if str(fold) not in of_network:
      of_network[str(fold)] = {
        **best,
        "seeds": list(folds.seeds(config)),
        "validation": scores,
      }
      files.write_json(path / FILE, decided)


def decide_seeds(
  config, path: pathlib.Path, needed: int | None, numbers: Sequence[int]
) -> dict[str, Any]:
  """Record how many seeds the verdict gets, unless that was decided before.

  `needed` is the result of statistics.seeds_needed for the folds `numbers`.
  """
  with files.locked(path / ".plan.lock", wait=True):
    decided = read(path)
    if not decided["until"]:
      if needed is None:
        reason = (
          "the lesions alone make the interval wider than that, so more seeds "
          "would not help"
        )
      elif needed >= config.seeds_most:
        reason = f"at most seeds_most={config.seeds_most}"
      else:
        reason = "the number estimated from the first seeds"
      decided["until"] = {
        "half_width": config.until,
        "first": config.seeds,
        "folds": list(numbers),
        "seeds": needed or config.seeds,
        "reason": reason,
      }
      files.write_json(path / FILE, decided)
    return decided["until"]


def estimate(config, network: str) -> float:
  """Estimate the seconds that a unit takes on two cores."""
  part = config.network[network]
  if part.task == networks.HEAD:
    return _HEAD_SECONDS
  size = config.data.size
  if part.model.network == "efficientnet":
    size = part.model.input
  work = part.train.batch_size / 64 * (size / 64) ** 2
  return part.train.steps * work * _STEP_SECONDS[part.model.network]


def estimate_gan(config) -> float:
  """Estimate the seconds that a fold's GAN takes on two cores."""
  gan = config.gan
  kind = gan.task, gan.model.discriminator
  step = _GAN_STEP_SECONDS.get(kind, _UNKNOWN_STEP_SECONDS)
  return gan.train.steps * step * (config.data.size / 64) ** 2


def megabytes(config, network: str) -> float:
  """Estimate a unit's disk space; for trained networks, the checkpoint's."""
  part = config.network[network]
  if part.task == networks.HEAD:
    return 0.2
  # Parameters, two moments and the EMA, float32.
  if part.model.network == "efficientnet":
    return 16 * 3.4
  return 16 * 0.011 * part.model.width**2


class Progress:
  """Counts finished units, and estimates the time for the remaining ones."""

  def __init__(self, config, numbers: Sequence[int]):
    """Take the numbers of the folds to run."""
    self._config = config
    self._took = {network: {} for network in config.networks}  # by unit
    self._all = collections.Counter(
      unit.network
      for number in numbers
      for unit in units_of(config, number, folds.seeds(config))
    )

  def done(self, unit: units.Unit, seconds: float) -> None:
    """Record a finished unit, and how long it took."""
    self._took[unit.network][unit] = seconds

  def find(self, made: Sequence[units.Work]) -> None:
    """Record which units are finished, by whatever process."""
    for one in made:
      if units.has(one, units.VALIDATION):
        self.done(one.unit, units.seconds(one.place))

  def each(self, network: str) -> tuple[float, bool]:
    """Return the seconds that a unit takes, and whether they are measured."""
    took = [seconds for seconds in self._took[network].values() if seconds]
    if took:
      return float(np.mean(took)), True
    return estimate(self._config, network), False

  def left(self) -> float:
    """Return the seconds that all remaining units take, in one process."""
    return sum(self.each(n)[0] * self._left(n) for n in self._took)

  def _left(self, network: str) -> int:
    return self._all[network] - len(self._took[network])

  def table(self) -> str:
    """Return the units done and left as a table, one row per network."""
    heads = ("network", "done", "left", "per unit", "time left")
    rows = [heads]
    for network in self._took:
      left = self._left(network)
      each, measured = self.each(network)
      about = "" if measured else "about "
      rows.append(
        (
          network,
          str(len(self._took[network])),
          str(left),
          about + duration(each),
          about + duration(each * left),
        )
      )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
      "  ".join(
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
      )
      for row in rows
    )


def keep_network(config, path: pathlib.Path) -> None:
  """Record which network gives the verdict: there is one primary hypothesis.

  Raises:
    InputError: another one was recorded before.
  """
  with files.locked(path / ".plan.lock", wait=True):
    require_same_network(config, path)
    now = {"verdict_network": verdict_network(config)}
    files.write_json(path / FILE, read(path) | now)


def require_same_network(config, path: pathlib.Path) -> None:
  """Raise an InputError if another network gives the verdict than before."""
  now = verdict_network(config)
  before = read(path).get("verdict_network", now)
  if before != now:
    every = ",".join(dict.fromkeys((*config.networks, before)))
    raise errors.InputError(
      f"The verdict of {path} is by {before}, not by {now}: its network is "
      f"chosen once. Set --config.networks={every} and "
      f"--config.verdict_network={before}, or use another workdir."
    )
