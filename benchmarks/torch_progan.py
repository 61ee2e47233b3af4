"""ProGAN's training step in PyTorch.

It computes the same as skinjax/training/tasks/progan.py and
skinjax/training/gan_step.py at full resolution with nothing fading in, in the
way that is fastest in PyTorch.
"""

import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks import torch_progan_models as models
from benchmarks import torch_steps, workload

_LOSSES = {
  "wasserstein": (lambda real, fake: fake - real, lambda fake: -fake),
  "non_saturating": (
    lambda real, fake: F.softplus(-real) + F.softplus(fake),
    lambda fake: F.softplus(-fake),
  ),
}


class Progan:
  """A ProGAN in training at full resolution; see torch_steps.Acgan.

  Fused convolutions are always faster, so there is no other variant.
  """

  def __init__(self, config, size: int, variant: workload.Variant):
    self._config = config
    self._losses = _LOSSES[config.loss.adversarial]
    networks = [
      torch_steps.channels_last(kind(size, config.model))
      for kind in (models.Generator, models.Discriminator)
    ]
    self.networks = dict(
      zip(("generator", "discriminator"), networks, strict=True)
    )
    train, rate = config.train, config.growth.rates[size.bit_length() - 3]
    betas = train.beta1, train.beta2
    self._optimizers = [
      torch.optim.Adam(network.parameters(), rate, betas, fused=True)
      for network in networks
    ]
    self._average = torch_steps.Average(networks[0], config)
    self._generate = torch_steps.run_by(networks[0], variant)
    self._discriminator_loss = torch_steps.run_by(self._d_loss, variant)
    self._generator_loss = torch_steps.run_by(self._g_loss, variant)

  def _penalty(self, real, fake, shares):
    """Penalize the gradient between real and generated images.

    It always runs eagerly, which is faster than compiled.
    """
    between = torch.lerp(real, fake, shares[:, None, None, None])
    gradient = self.networks["discriminator"].gradient(between)
    squared = gradient.square().sum((1, 2, 3))
    return (torch.sqrt(squared + 1e-12) - 1).square().mean()

  def _d_loss(self, real, fake, labels):
    """Return the loss without the penalty, and metrics."""
    loss = self._config.loss
    source, classes = self.networks["discriminator"](torch.cat([real, fake]))
    real_source, fake_source = source.chunk(2)
    real_class, _ = classes.chunk(2)
    adversarial = self._losses[0](real_source, fake_source).mean()
    on_real = F.cross_entropy(real_class, labels)
    total = adversarial + loss.class_weight * on_real
    total = total + loss.drift * real_source.square().mean()
    with torch.no_grad():
      metrics = {
        "d_loss": adversarial,
        "d_class_loss": on_real,
        "d_real": real_source.mean(),
        "d_fake": fake_source.mean(),
        "d_class_accuracy": (real_class.argmax(1) == labels).float().mean(),
      }
    return total, metrics

  def _g_loss(self, fake, labels):
    source, classes = self.networks["discriminator"](fake)
    source = self._losses[1](source).mean()
    auxiliary = F.cross_entropy(classes, labels)
    metrics = {"g_loss": source, "g_class_loss": auxiliary}
    return source + self._config.loss.class_weight * auxiliary, metrics

  def update(
    self, images, labels, latents=None, shares=None
  ) -> dict[str, torch.Tensor]:
    """Update the discriminator, then the generator."""
    if latents is None:
      latents = torch.randn(len(labels), self._config.model.latents)
    if shares is None:
      shares = torch.rand(len(labels))
    g_optimizer, d_optimizer = self._optimizers
    generator, discriminator = self.networks.values()
    fake = self._generate(latents, labels)
    discriminator.requires_grad_(True)
    real, fixed = torch_steps.to_float(images), fake.detach()
    total, metrics = self._discriminator_loss(real, fixed, labels)
    total.backward()
    if self._config.loss.penalty != "none":
      # After the memory of the other losses' backward pass has been freed.
      penalty = self._penalty(real, fixed, shares)
      (self._config.loss.penalty_weight * penalty).backward()
      metrics["d_penalty"] = penalty.detach()
    metrics["d_gradient"] = torch_steps.gradient_norm(discriminator)
    d_optimizer.step()
    d_optimizer.zero_grad()
    # Gradients with respect to its weights are not needed.
    discriminator.requires_grad_(False)
    total, g_metrics = self._generator_loss(fake, labels)
    total.backward()
    g_metrics["g_gradient"] = torch_steps.gradient_norm(generator)
    g_optimizer.step()
    g_optimizer.zero_grad()
    self._average.move()
    return {**metrics, **g_metrics}
