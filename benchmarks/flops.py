"""Counts a function's operations in matrix products and convolutions.

Operations are counted in the jaxpr, before compilation, so they are the same on
every platform and with every version of XLA. XLA's own counts leave out what a
vendor's library computes.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count(function: Callable, *arguments: Any) -> int:
  """Count the multiplications and additions of a call, each as one.

  A loop of unknown length counts once; of branches, the costliest counts.
  """
  return _of(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of(jaxpr) -> int:
  return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation) -> int:
  name, params = equation.primitive.name, equation.params
  if name == "dot_general":
    (contracted, _), _ = params["dimension_numbers"]
    left, (out,) = equation.invars[0].aval.shape, equation.outvars
    summed = math.prod(left[axis] for axis in contracted)
    return 2 * math.prod(out.aval.shape) * summed
  if name == "conv_general_dilated":
    return _of_convolution(equation)
  inner = [_of(jaxpr) for jaxpr in _inside(params)]
  if name == "cond":
    return max(inner, default=0)
  return params.get("length", 1) * sum(inner) if inner else 0


def _of_convolution(equation) -> int:
  params = equation.params
  kernel = equation.invars[1].aval.shape
  numbers = params["dimension_numbers"]
  # Kernels are (outputs, inputs of a group, height, width) by `rhs_spec`.
  _, inputs, *window = (kernel[axis] for axis in numbers.rhs_spec)
  products = math.prod(equation.outvars[0].aval.shape) * inputs
  # Don't count the zeros between the pixels of a dilated image.
  return 2 * products * math.prod(window) // math.prod(params["lhs_dilation"])


def _inside(params: dict[str, Any]) -> Iterator[Any]:
  """Yield the jaxprs that an operation calls."""
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      item = getattr(item, "jaxpr", item)
      if hasattr(item, "eqns"):
        yield item
