"""Invents lesions: each class has a typical look, from which lesions vary.

A lesion's look is between that of its class and that of a class it can be
mistaken for, plus random variation; one lesion in twelve looks entirely like
the other class. So the classes overlap, and no classifier can be right about
all lesions.
"""

import dataclasses
import math

import numpy as np

from tfds_ham10000.tables import CLASSES

# A quarter of HAM10000's images of each class.
COUNTS = dict(zip(CLASSES, (82, 128, 275, 29, 278, 1676, 36), strict=True))
# Shares of lesions with 1 to 6 images, close to HAM10000's (74 % have one).
_VIEW_SHARES = (0.74, 0.19, 0.05, 0.01, 0.006, 0.004)
_MIMIC_SHARE = 0.08
_MAX_BLEND = 0.35


@dataclasses.dataclass(frozen=True)
class Look:
  """How a lesion looks; colours are RGB, 0 to 1, lengths in half pictures.

  Attributes:
    colour: [3], of most of the lesion.
    second: [3], of its patches.
    spot_colour: [3], of its spots.
    radius: of the lesion.
    aspect: the short axis over the long one.
    irregularity: variation of the border, as a share of the radius.
    softness: width of the border.
    patches: opacity of `second` in the patches, 0 to 1.
    network: strength of a dark net, 0 to 1.
    vessels: strength of a red net, 0 to 1.
    globules: strength of dark dots, 0 to 1.
    streaks: length of rays at the border, as a share of the radius.
    spots: opacity of the spots, 0 to 1.
    spot_radius: radius of the spots, as a share of the lesion's.
    spot_spread: distance of the spots from the centre, as a share of the
      lesion's radius.
  """

  colour: np.ndarray
  second: np.ndarray
  spot_colour: np.ndarray
  radius: float
  aspect: float
  irregularity: float
  softness: float
  patches: float
  network: float
  vessels: float
  globules: float
  streaks: float
  spots: float
  spot_radius: float
  spot_spread: float


def _look(colour, second, spot_colour, *numbers: float) -> Look:
  return Look(*map(np.array, (colour, second, spot_colour)), *numbers)


# fmt: off
_LOOKS = {
  # Pink, rough, ill-defined; pale scales.
  "akiec": _look((.71, .44, .41), (.62, .42, .36), (.86, .76, .68),
                 .62, .75, .20, .12, .5, .05, .35, .05, .0, .55, .15, .7),
  # Pearly pink, red vessels, blue-grey ovoids.
  "bcc":   _look((.74, .50, .50), (.60, .44, .46), (.36, .36, .47),
                 .52, .80, .14, .08, .4, .03, .50, .05, .0, .60, .16, .6),
  # Tan, stuck on, sharp; pale cysts.
  "bkl":   _look((.56, .40, .32), (.43, .30, .24), (.80, .70, .58),
                 .68, .76, .14, .03, .5, .15, .05, .35, .0, .55, .09, .7),
  # Small, light brown, a white scar in the middle.
  "df":    _look((.62, .42, .36), (.56, .36, .31), (.85, .70, .68),
                 .48, .90, .08, .13, .3, .25, .05, .05, .0, .70, .42, .12),
  # Large, dark, several colours, ragged; a blue-grey veil.
  "mel":   _look((.37, .25, .24), (.19, .14, .17), (.46, .47, .56),
                 .74, .72, .24, .06, .6, .25, .05, .30, .08, .50, .26, .5),
  # Brown, even, round; a net or dots.
  "nv":    _look((.48, .31, .26), (.37, .23, .20), (.36, .22, .19),
                 .52, .85, .09, .07, .3, .35, .02, .25, .02, .25, .30, .2),
  # Small, red to purple; dark lagoons.
  "vasc":  _look((.62, .20, .24), (.45, .13, .22), (.30, .07, .16),
                 .46, .88, .10, .05, .4, .02, .20, .10, .0, .60, .20, .5),
}
# fmt: on
_MISTAKEN_FOR = {
  "akiec": ("bkl", "bcc", "df"),
  "bcc": ("akiec", "df", "bkl"),
  "bkl": ("mel", "nv", "akiec"),
  "df": ("nv", "bcc", "akiec"),
  "mel": ("nv", "bkl", "nv"),
  "nv": ("mel", "bkl", "df"),
  "vasc": ("bcc", "mel", "nv"),
}


@dataclasses.dataclass(frozen=True)
class Lesion:
  """A lesion: its class, its look, and how many pictures it has."""

  dx: str
  look: Look
  views: int


def invent_lesions(seed: int) -> list[Lesion]:
  """Invent the lesions of the whole data set, class by class.

  Args:
    seed: nonnegative; different seeds give different lesions.

  Returns:
    Lesions whose views add up to `COUNTS` in every class.
  """
  rng = np.random.default_rng(seed)
  lesions = []
  for dx, count in COUNTS.items():
    while count:
      drawn = 1 + rng.choice(len(_VIEW_SHARES), p=_VIEW_SHARES)
      views = min(int(drawn), count)
      lesions.append(Lesion(dx, _invent_look(dx, rng), views))
      count -= views
  return lesions


def typical_look(dx: str) -> Look:
  """Return the typical look of a class."""
  return _LOOKS[dx]


def _invent_look(dx: str, rng: np.random.Generator) -> Look:
  """Sample a look of a class."""
  typical = _LOOKS[dx]
  other = _LOOKS[_MISTAKEN_FOR[dx][rng.integers(len(_MISTAKEN_FOR[dx]))]]
  mimic = rng.random() < _MIMIC_SHARE
  weight = 1.0 if mimic else _MAX_BLEND * rng.random()
  shade = rng.normal(0, 0.045)
  values = {}
  for field in dataclasses.fields(Look):
    a, b = getattr(typical, field.name), getattr(other, field.name)
    value = a + weight * (b - a)
    if isinstance(value, np.ndarray):
      value = np.clip(value + shade + rng.normal(0, 0.018, 3), 0.02, 0.95)
    else:
      value = value * math.exp(rng.normal(0, 0.2))
    values[field.name] = value
  values["aspect"] = min(values["aspect"], 1.0)
  values["radius"] = min(values["radius"], 0.9)
  return Look(**values)
