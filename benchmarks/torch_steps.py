"""The ACGAN's and the classifier's training steps in PyTorch.

A step computes the same as in skinjax/training/tasks, in the way that is
fastest in PyTorch. Shared code comes first.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks import torch_models as models
from benchmarks import workload


def channels_last(network):
  """Prepare a network for training, with kernels that are NHWC in memory."""
  return network.train().to(memory_format=torch.channels_last)


def to_float(images):
  """Map uint8 NHWC to floats in [-1, 1], NCHW without a transposed copy."""
  return images.permute(0, 3, 1, 2).to(torch.get_default_dtype()) / 127.5 - 1


class Average:
  """An EMA of a network's float tensors; see skinjax/training/state.py."""

  def __init__(self, network, config):
    self._batch = workload.batch_size(config)
    self._half_life = config.train.ema_images
    self._seen = 0
    self._new = [
      value
      for value in (*network.parameters(), *network.buffers())
      if value.is_floating_point()
    ]
    self._old = [value.detach().clone() for value in self._new]

  @torch.no_grad()
  def move(self):
    """Update the EMA after a step."""
    self._seen += self._batch
    half_life = min(self._half_life, 0.05 * self._seen)
    weight = 1 - 0.5 ** (self._batch / half_life)
    torch._foreach_lerp_(self._old, self._new, weight)


def gradient_norm(network):
  """Compute the Euclidean norm of a network's gradient."""
  gradients = [p.grad for p in network.parameters() if p.grad is not None]
  return torch.nn.utils.get_total_norm(gradients)


def run_by(function, variant):
  """Return a function, compiled if the variant is."""
  if variant.compiled:
    return torch.compile(function, dynamic=False)
  return function


class Acgan:
  """An ACGAN in training.

  Args:
    config: a config of configs/acgan.py.
    size: height and width of the images.
    variant: how PyTorch runs it.
  """

  def __init__(self, config, size: int, variant: workload.Variant):
    if config.model.spectral or config.loss.adversarial != "non_saturating":
      raise ValueError("Only the default normalization and loss are supported.")
    self._config = config
    channels, classes = workload.CHANNELS, workload.CLASSES
    model = config.model
    generator = models.Generator(
      size, channels, model.generator_width, model.latents, classes
    )
    discriminator = models.Discriminator(
      size,
      channels,
      model.discriminator_width,
      classes,
      model.dropout,
      model.noise,
    )
    self.networks = {
      "generator": channels_last(generator),
      "discriminator": channels_last(discriminator),
    }
    self._optimizers = [
      torch.optim.Adam(
        network.parameters(), rate, (config.train.beta1, 0.999), fused=True
      )
      for network, rate in (
        (generator, config.train.generator_rate),
        (discriminator, config.train.discriminator_rate),
      )
    ]
    self._average = Average(generator, config)
    self._generate = run_by(generator, variant)
    self._discriminator_loss = run_by(self._d_loss, variant)
    self._generator_loss = run_by(self._g_loss, variant)

  def _d_loss(self, images, fake, labels, masks):
    discriminator = self.networks["discriminator"]
    real_source, real_class = discriminator(to_float(images), masks[0])
    fake_source, _ = discriminator(fake, masks[1])
    source = (F.softplus(-real_source) + F.softplus(fake_source)).mean()
    on_real = F.cross_entropy(real_class, labels)
    with torch.no_grad():
      metrics = {
        "d_loss": source,
        "d_class_loss": on_real,
        "d_real": real_source.mean(),
        "d_fake": fake_source.mean(),
        "d_class_accuracy": (real_class.argmax(1) == labels).float().mean(),
      }
    return source + self._config.loss.class_weight * on_real, metrics

  def _g_loss(self, fake, labels, masks):
    source, classes = self.networks["discriminator"](fake, masks)
    source = F.softplus(-source).mean()
    auxiliary = F.cross_entropy(classes, labels)
    metrics = {"g_loss": source, "g_class_loss": auxiliary}
    return source + self._config.loss.class_weight * auxiliary, metrics

  def update(self, images, labels, latents=None) -> dict[str, torch.Tensor]:
    """Update the discriminator, then the generator."""
    if latents is None:
      latents = torch.randn(len(labels), self._config.model.latents)
    g_optimizer, d_optimizer = self._optimizers
    discriminator = self.networks["discriminator"]
    masks = [discriminator.draw(len(labels)) for _ in range(3)]
    fake = self._generate(latents, labels)
    discriminator.requires_grad_(True)
    total, metrics = self._discriminator_loss(
      images, fake.detach(), labels, masks[:2]
    )
    total.backward()
    metrics["d_gradient"] = gradient_norm(discriminator)
    d_optimizer.step()
    d_optimizer.zero_grad()
    # Gradients with respect to its weights are not needed.
    discriminator.requires_grad_(False)
    total, g_metrics = self._generator_loss(fake, labels, masks[2])
    total.backward()
    g_metrics["g_gradient"] = gradient_norm(self.networks["generator"])
    g_optimizer.step()
    g_optimizer.zero_grad()
    self._average.move()
    return {**metrics, **g_metrics}


class Classifier:
  """A classifier in training; see `Acgan`."""

  def __init__(self, config, size: int, variant: workload.Variant):
    if config.loss.balance != "none":
      raise ValueError("Only the default loss is supported.")
    self._config, self._step = config, 0
    if config.model.network == "efficientnet":
      if config.model.input != size or config.augment.mixup:
        raise ValueError("Resizing and mixup are not supported.")
      network = models.FineTuned(workload.CLASSES, config.model.dropout)
    else:
      network = models.ResNet(
        size,
        workload.CHANNELS,
        config.model.width,
        workload.CLASSES,
        config.model.dropout,
        variant.fused,
      )
    self.networks = {"variables": channels_last(network)}
    decays = (config.train.weight_decay, 0.0)
    self._optimizer = torch.optim.AdamW(
      [
        {
          "params": [p for p in network.parameters() if (p.ndim > 1) == matrix],
          "weight_decay": decay,
        }
        for matrix, decay in zip((True, False), decays, strict=True)
      ],
      betas=(0.9, config.train.beta2),
      fused=True,
    )
    self._average = Average(network, config)
    self._loss = run_by(self._mean_loss, variant)

  def _mean_loss(self, images, labels, masks):
    logits = self.networks["variables"](to_float(images), masks)
    smoothing = self._config.loss.smoothing
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    with torch.no_grad():
      accuracy = (logits.argmax(1) == labels).float().mean()
    return loss, {"loss": loss, "accuracy": accuracy}

  def _rate(self):
    """Return the learning rate: a warm-up, then cosine decay to 0."""
    train = self._config.train
    warm = train.steps // 20
    if self._step < warm:
      return train.rate * self._step / warm
    done = min((self._step - warm) / (train.steps - warm), 1)
    return train.rate * (1 + math.cos(math.pi * done)) / 2

  def update(self, images, labels) -> dict[str, torch.Tensor]:
    """Update the network."""
    masks = self.networks["variables"].draw(len(labels))
    loss, metrics = self._loss(images, labels, masks)
    loss.backward()
    metrics["gradient"] = gradient_norm(self.networks["variables"])
    for group in self._optimizer.param_groups:
      group["lr"] = self._rate()
    self._optimizer.step()
    self._optimizer.zero_grad()
    self._average.move()
    self._step += 1
    return metrics
