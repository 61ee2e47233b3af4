r"""ProGAN as in its paper (Karras et al. 2018): for GPUs and TPUs.

  python main.py --config=configs/progan_paper.py:dataset=ham10000,size=256 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

Widths, losses, batch sizes, learning rates and schedule are those of the paper:
800 thousand images to fade a resolution in, and as many after that. These are
229 passes over HAM10000's training images for each resolution, which is long
for so small a data set; configs/progan.py is what was tried. This config has
not been run to its end.
"""

from configs import common, progan
from skinjax.training.tasks import progan as task


@common.arguments(dataset="ham10000", size=0, quick=False)
def get_config(dataset: str, size: int, quick: bool):
  """Return the config; see common.arguments."""
  config = progan.get_config(
    f"dataset={dataset},size={size},quick={quick},variant=paper"
  )
  config.loss.class_on_fakes = 1.0
  config.train.sampler = "natural"
  # An EMA decay of 0.999 per step of 16 images.
  config.train.ema_images = 11_085.0
  if not quick:
    config.model.latents = 512
    config.model.base = 4096
    config.model.most = 512
    # The paper uses 14 images at 256x256, for lack of memory.
    sizes = len(config.growth.rates)
    config.growth.batch_sizes = (16,) * sizes
    config.growth.rates = (1e-3,) * sizes
    config.growth.fade_images = config.growth.stable_images = 800_000
    config.train.steps = task.steps_for(800_000, config)
  return config
