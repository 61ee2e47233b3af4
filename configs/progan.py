r"""ProGAN: images by class, progressively grown from 4x4 (Karras et al. 2018).

  python main.py --config=configs/progan.py:dataset=mnist --workdir=DIR
  python main.py --config=configs/progan.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

For one class alone, with an unconditional network:

  python main.py --config=configs/progan.py:dataset=ham10000,variant=paper \
    --config.data.classes=mel --workdir=DIR

For HAM10000 and your own images it starts at full size, and its discriminator
sees images through a network pretrained on ImageNet (Sauer et al. 2021), unless
`,variant=paper` or `,quick` is given; for other data sets `,variant=projected`
turns that on. To grow such a network, set `--config.growth.first_size=4` and a
larger `--config.train.steps`.

Writes sheets of samples, one row per class, at every resolution (DIR/samples).
Measured times and results are in results/generators and results/README.md.
"""

import ml_collections

from configs import common
from skinjax.training.tasks import progan


@common.arguments(dataset="ham10000", size=0, quick=False, variant="")
def get_config(dataset: str, size: int, quick: bool, variant: str):
  """Return the config; see common.arguments."""
  config = common.generating("progan", dataset, size, quick, variant)

  config.model.latents = 128
  # Features at 4x4, before the limit `most`; each level has half those of the
  # level before, so 16 at full size.
  config.model.base = 4 * config.data.size
  config.model.most = 128
  # nearest or bilinear; see models/progan.py.
  config.model.upsampling = "nearest"
  # Whether the generator adds noise to each pixel (Karras et al. 2019).
  config.model.pixel_noise = False

  # wasserstein, non_saturating, hinge or relativistic.
  config.loss.adversarial = "wasserstein"
  # On the discriminator's gradient: gradient (WGAN-GP's), r1 or none.
  config.loss.penalty = "gradient"
  config.loss.penalty_weight = 10.0
  # Weight of the squared logits of real images, which keeps them near 0.
  config.loss.drift = 0.001
  # Weight of the discriminator's class loss on generated images; the paper's
  # code uses 1.
  config.loss.class_on_fakes = 0.0

  config.growth = ml_collections.ConfigDict()
  config.growth.first_size = 4
  # Batch sizes and learning rates at 4x4, 8x8, … 256x256, and beyond if needed.
  beyond = max(config.data.size.bit_length() - 9, 0)
  config.growth.batch_sizes = (64, 64, 64, 32, 32, 16, 8) + (4,) * beyond
  config.growth.rates = (2e-3,) * (7 + beyond)
  config.growth.fade_images = 25_600
  config.growth.stable_images = 25_600
  # The steps of a resolution are a multiple of this; log_every must divide it.
  config.growth.round_steps = 50
  # Images at the last size, after it has faded in.
  last_images = 294_400 if config.data.name == "mnist" else 102_400
  del config.train.batch_size  # set by growth.batch_sizes
  config.train.beta1 = 0.0
  config.train.beta2 = 0.99
  # Half-life of the generator's EMA, in images.
  config.train.ema_images = 10_000.0

  if quick:
    config.model.base = config.model.most = 32
    config.log_every = config.eval_every = 25
    config.save_every = config.sample_every = 25
    config.growth.first_size = max(4, config.data.size // 2)
    config.growth.round_steps = 25
    config.growth.fade_images = config.growth.stable_images = 800
    last_images = 1600
  if config.model.discriminator == "projected":
    common.project(config)
    config.growth.first_size = config.data.size
    config.growth.batch_sizes = (64,) * len(config.growth.batch_sizes)
    if config.data.name != "mnist" and not quick:
      last_images = 224_000
  config.train.steps = progan.steps_for(last_images, config)
  return config
