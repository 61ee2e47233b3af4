"""How a ProGAN grows: its phases, and which configs describe none."""

from skinjax.models import layers
from skinjax.models import progan as models
from skinjax.runtime import errors, parallel
from skinjax.training import losses, schedules
from skinjax.training.schedules import Phase

GROUP = 4  # images whose deviation the discriminator is told


def phases(config) -> tuple[Phase, ...]:
  """Returns the phases of a training, one a resolution; see schedules.growth.

  Raises:
    InputError: there is no such schedule.
  """
  growth = config.growth
  return schedules.growth(
    first_size=growth.first_size,
    last_size=config.data.size,
    batch_sizes=growth.batch_sizes,
    rates=growth.rates,
    fade_images=growth.fade_images,
    stable_images=growth.stable_images,
    round_steps=growth.round_steps,
    steps=config.train.steps,
    work=lambda level: models.products(
      level, config.model.base, config.model.most
    ),
  )


def check(config) -> None:
  """Refuses a config that no step can be made of.

  Raises:
    InputError: there is no such dtype, loss, penalty, schedule or size.
  """
  errors.require_known("model.dtype", config.model.dtype, layers.DTYPES)
  errors.require_known(
    "loss.adversarial", config.loss.adversarial, losses.DISCRIMINATOR
  )
  errors.require_known("loss.penalty", config.loss.penalty, losses.PENALTIES)
  sizes = [4 << n for n in range(schedules.level_of(config.data.size) + 1)]
  if config.model.conditional_from not in sizes:
    raise errors.InputError(
      f"model.conditional_from={config.model.conditional_from}: one of "
      f"{', '.join(map(str, sizes))} is wanted."
    )
  if config.growth.round_steps % config.log_every:
    raise errors.InputError(
      f"log_every={config.log_every} does not divide growth.round_steps="
      f"{config.growth.round_steps}: a resolution ends where a call of "
      "log_every steps does."
    )
  for phase in phases(config):
    share = parallel.share(phase.batch_size, config.parallel)
    if share % GROUP:
      raise errors.InputError(
        f"growth.batch_sizes={config.growth.batch_sizes}: a device's part of "
        f"{phase.batch_size} images is {share}, and a multiple of {GROUP} is "
        "wanted, for the minibatch deviation."
      )
