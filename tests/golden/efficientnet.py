"""Makes efficientnet.npz: PyTorch's outputs of EfficientNet-Lite0 for images.

python -m pip install torch efficientnet_lite_pytorch==0.1.0
python -m tests.golden.efficientnet
"""

import pathlib

import numpy as np

PATH = pathlib.Path(__file__).with_suffix(".npz")
SIZES = (64, 224)
EVERY = 8  # of the features and of the logits one in eight is kept


def images(size):
  """Return uint8 [4, size, size, 3]: two of noise, two of smooth waves."""
  rng = np.random.default_rng(size)
  noise = rng.integers(0, 256, (2, size, size, 3))
  y, x = np.mgrid[:size, :size][..., None] * 1000 // size
  across, down, shift = rng.integers(0, 4, (3, 2, 1, 1, 3))
  waves = abs((across * x + down * y + 99 * shift) % 510 - 255)
  return np.concatenate([noise, waves]).astype(np.uint8)


def _main():
  import torch
  from efficientnet_lite_pytorch import EfficientNet

  from skinjax.models import efficientnet

  weights = torch.load(efficientnet.weights_path(), weights_only=True)
  golden = {}
  for size in SIZES:
    network = EfficientNet.from_name("efficientnet-lite0", image_size=size)
    network.load_state_dict(weights)
    network.eval()
    batch = (images(size).astype(np.float32) - 127) / 128
    batch = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
      features = network.extract_features(batch).mean((2, 3))
      logits = network(batch)
    golden[f"features{size}"] = features.numpy()[:, ::EVERY]
    golden[f"logits{size}"] = logits.numpy()[:, ::EVERY]
  np.savez(PATH, **golden)


if __name__ == "__main__":
  _main()
