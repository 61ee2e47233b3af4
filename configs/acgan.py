r"""ACGAN: images by class (Odena, Olah, Shlens 2017).

  python main.py --config=configs/acgan.py:dataset=mnist --workdir=DIR
  python main.py --config=configs/acgan.py:dataset=ham10000 \
    --config.data.manual_dir=DIR_OF_THE_ZIPS --workdir=DIR

For HAM10000 and your own images its discriminator sees images through a
network pretrained on ImageNet (Sauer et al. 2021), unless `,variant=paper` or
`,quick` is given; for other data sets `,variant=projected` turns that on.

Writes sheets of samples, one row per class, during training (DIR/samples).
Measured times and results are in results/generators and results/README.md.
"""

from configs import common


@common.arguments(dataset="ham10000", size=0, quick=False, variant="")
def get_config(dataset: str, size: int, quick: bool, variant: str):
  """Return the config; see common.arguments."""
  config = common.generating("acgan", dataset, size, quick, variant)

  config.model.latents = 100
  config.model.generator_width = 32
  config.model.discriminator_width = 32
  # How the generator upsamples: transposed, nearest or bilinear.
  config.model.upsampling = "transposed"
  # Whether the generator adds noise to every pixel (Karras et al. 2019).
  config.model.pixel_noise = False
  # The paper uses 0.5, with several times these widths.
  config.model.dropout = 0.25
  # Standard deviation of the noise on the discriminator's input.
  config.model.noise = 0.0
  # Spectral instead of batch normalization in the discriminator.
  config.model.spectral = False

  # non_saturating, hinge, wasserstein or relativistic.
  config.loss.adversarial = "non_saturating"
  # On the discriminator's gradient: gradient (WGAN-GP's), r1 or none.
  config.loss.penalty = "none"
  config.loss.penalty_weight = 10.0
  # Weight of the squared logits of real images, which keeps them near 0.
  config.loss.drift = 0.0
  # Weight of the discriminator's class loss on generated images. The paper uses
  # 1; 0 keeps the discriminator from learning the generator's errors, and the
  # generator from collapsing to the one image that is easiest to classify.
  config.loss.class_on_fakes = 0.0

  config.train.steps = 8000 if config.data.name == "mnist" else 3000
  config.train.generator_rate = 2e-4
  config.train.discriminator_rate = 2e-4
  config.train.beta1 = 0.5
  config.train.beta2 = 0.999
  # Half-life of the generator's EMA, in images.
  config.train.ema_images = 10_000.0

  if quick:
    config.model.generator_width = config.model.discriminator_width = 8
    config.log_every = config.eval_every = 50
    config.save_every = config.sample_every = 50
    config.train.steps = 200
  if config.model.discriminator == "projected":
    for key in ("discriminator_width", "dropout", "noise", "spectral"):
      del config.model[key]
    common.project(config)
    config.train.decay = 0.2
    # A larger weight makes images more typical of their class but less diverse.
    config.loss.class_weight = 0.2
    config.train.generator_rate = config.train.discriminator_rate
    if config.data.name != "mnist" and not quick:
      config.train.steps = 4500
  return config
