"""Tests of the stop at numbers that are not finite."""

import numpy as np
import pytest

from skinjax.runtime import errors
from skinjax.training import divergence


def test_means():
  means = divergence.finite_means({"a": np.array([1.0, 4.0])}, 0, None)
  assert means == {"a": 2.5}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_bad_number_is_named(value):
  stacked = {
    "late": np.array([1.0, 1.0, value]),
    "gradient": np.array([1.0, value, value]),
    "fine": np.ones(3),
  }
  told = f"gradient was {value} at step 12: training has diverged. The last "
  with pytest.raises(errors.InputError) as refusal:
    divergence.finite_means(stacked, 10, 8)
  assert str(refusal.value).startswith(told)
  assert "checkpoint is that of step 8" in str(refusal.value)
  with pytest.raises(errors.InputError, match="There is no checkpoint yet"):
    divergence.finite_means(stacked, 10, None)
