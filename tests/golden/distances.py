"""Features for the golden numbers of distances_test, and their computation.

Needs torch, torchvision, torchmetrics 1.9.0 and torch-fidelity 0.4.0:
  python -m tests.golden.distances
"""

import numpy as np

SIZES = {"more_than_d": (300, 200, 16), "fewer_than_d": (40, 60, 64)}


def pair(name):
  """Correlated, skewed, non-negative features, as pooled ReLUs are."""
  n, m, d = SIZES[name]
  # RandomState's numbers are the same in every version of numpy.
  rng = np.random.RandomState(0)
  mix = rng.normal(size=(d, d)) / np.sqrt(d)
  real = np.maximum(rng.normal(size=(n, d)) @ mix, 0)
  fake = np.maximum(1.2 * rng.normal(size=(m, d)) @ mix + 0.2, 0)
  return real, fake


def main():
  """Print the numbers of both libraries."""
  import torch
  from torch_fidelity import metric_fid, metric_kid, metric_prc
  from torchmetrics.image import fid, kid

  for name in SIZES:
    real, fake = pair(name)
    n = min(len(real), len(fake))
    x, y = torch.from_numpy(real), torch.from_numpy(fake)
    statistics = [metric_fid.fid_features_to_statistics(z) for z in (x, y)]
    print(name, "torch-fidelity")
    print(metric_fid.fid_statistics_to_metric(*statistics, verbose=False))
    # Subsets of the size of a set of n are all of it.
    print(
      metric_kid.kid_features_to_metric(
        x[:n], y[:n], kid_subsets=2, kid_subset_size=n, verbose=False
      )
    )
    # Here the first set is the generated one.
    print(
      metric_prc.prc_features_to_metric(
        y, x, prc_neighborhood=5, prc_batch_size=1000, verbose=False
      )
    )
    print(name, "torchmetrics")
    moments = [m for z in (x, y) for m in (z.mean(0), torch.cov(z.T))]
    print(fid._compute_fid(*moments).item(), kid.poly_mmd(x[:n], y[:n]).item())


if __name__ == "__main__":
  main()
