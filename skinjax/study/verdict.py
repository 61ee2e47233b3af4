"""Turns the interval of a difference into a verdict, and puts it into words."""

from collections.abc import Sequence

from skinjax.report.rendering import signed

HELPS = "helps"
HURTS = "hurts"
NO_DIFFERENCE = "makes no detectable difference"
CANNOT_TELL = "cannot tell"

# With fewer lesions, a bootstrap means little: 9 lesions without an error do
# not exclude a true error rate of 28% (at 95%).
MIN_LESIONS = 10

_NEXT_STEPS = {
  HELPS: (
    "Look at the dose–response: where does the gain end?",
    "Repeat with another generator, and on images from another clinic "
    "(--config.external).",
    "Check generated images for copies of training images "
    "(configs/evaluate.py).",
  ),
  NO_DIFFERENCE: (
    "If smaller differences matter, plan another study with enough seeds from "
    "the start: --config.until=0.015 --config.seeds_most=20.",
    "Try another generator: --config.synthetic takes images from any source.",
  ),
  HURTS: (
    "Look at the generated images and the collapse test, class by class "
    "(configs/evaluate.py).",
    "Look at the smaller doses and the filtered arm.",
  ),
  CANNOT_TELL: ("Run at least three seeds, and test on more lesions.",),
}


def decide(low: float, high: float, *, testable: bool = True) -> str:
  """Turn the interval of a difference (larger is better) into a verdict.

  `testable`: whether there are enough lesions and seeds for an interval.

  Returns:
    `HELPS` if all of the interval is above zero, `HURTS` if all is below, else
    `NO_DIFFERENCE`; `CANNOT_TELL` if not testable, or if the interval is NaN or
    has no width (the arms agree on every resample, which says nothing about
    other lesions).
  """
  if not testable or not low < high:
    return CANNOT_TELL
  if low > 0:
    return HELPS
  return HURTS if high < 0 else NO_DIFFERENCE


def headline(
  subject: str,
  kind: str,
  *,
  low: float,
  high: float,
  level: float,
  leak_excluded: bool = True,
  other_pretraining: Sequence[str] = (),
) -> str:
  """State the verdict in a sentence about `subject`, a plural noun.

  If no difference is detected, it has the interval, whose level is `level`. It
  begins with what makes it doubtful: a leak that is not excluded, or pretrained
  networks that the generator was trained through and the classifiers were not.
  """
  said = {
    HELPS: f"{subject} help.",
    HURTS: f"{subject} hurt.",
    NO_DIFFERENCE: f"{subject} make no detectable difference "
    f"({100 * level:.4g}% interval {signed(low)} to {signed(high)}).",
    CANNOT_TELL: f"This study cannot tell whether {_uncapitalized(subject)} "
    "help.",
  }[kind]
  if other_pretraining:
    names = ", ".join(other_pretraining)
    said = f"A gain may come from the pretraining of {names}. {said}"
  return said if leak_excluded else f"A leak cannot be excluded. {said}"


def detail(
  subject: str,
  *,
  network: str,
  value: float,
  low: float,
  high: float,
  between: tuple[float, float],
  level: float,
  num_seeds: int,
) -> str:
  """State the difference in balanced accuracy, and what remains possible.

  `subject` is a plural noun: the added images.
  """
  change = (
    f"Balanced accuracy of {network} with {_uncapitalized(subject)} minus that "
    f"without, each with the best arm on validation lesions: {signed(value)} "
  )
  if not low < high:
    return change + (
      "on the test set; the two arms score the same on every resample of it, "
      "which says nothing about other lesions."
    )
  change += f"({100 * level:.4g}% interval {signed(low)} to {signed(high)}). "
  gain = f"a gain of up to {high:.3f}" if high > 0 else "no gain"
  loss = f"a loss of up to {-low:.3f}" if low < 0 else "no loss"
  change += f"Compatible with the data: {gain} and {loss}."
  if between[0] < between[1]:
    change += (
      " The interval between folds, which includes other training lesions, is "
      f"{signed(between[0])} to {signed(between[1])}."
    )
  if num_seeds == 1:
    change += (
      " With one seed, the variation between trainings is unknown, and the "
      "interval is too narrow."
    )
  return change


def next_steps(kind: str, *, drawn: bool, one_fold: bool) -> list[str]:
  """Propose what to run after a study that ended with this verdict."""
  steps = list(_NEXT_STEPS[kind])
  if drawn:
    steps.insert(0, "Run the same study on HAM10000: these pictures are drawn.")
  elif one_fold:
    steps.insert(
      0,
      "Test on every image once, for a narrower interval: "
      "--config.folds=0,1,2,3,4. Images of your own generator must then be of "
      "one generator per fold (configs/split.py).",
    )
  return steps


def _uncapitalized(text: str) -> str:
  """Lower the first letter, unless the word is an acronym such as GAN."""
  return text if text[:2].isupper() else text[:1].lower() + text[1:]
