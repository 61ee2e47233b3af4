"""Devices: the only module that knows of pmap, meshes and shardings.

Three ways to run a step give the same numbers: `one` device; `pmap`, where
each device holds its part of the batch and the step averages over the axis
`AXIS`; `jit`, where the batch is a global array that is sharded over devices.
State and data set are global, replicated arrays in all three.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from skinjax import errors

AXIS = "devices"
MODES = ("auto", "one", "pmap", "jit")


def keep_compiled(path: str) -> None:
  """Keeps this process's compiled programs in a directory, for the next."""
  jax.config.update("jax_compilation_cache_dir", path)
  # JAX keeps what took a second to compile: evaluation takes half of that.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def mean(tree: Any, axis_name: str | None) -> Any:
  """Averages arrays over the device axis; None means there is none."""
  return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def resolve(mode: str) -> str:
  """Returns the mode that `auto` stands for: pmap from two devices on.

  Raises:
    InputError: there is no such mode.
  """
  errors.require_known("parallel", mode, MODES)
  if mode == "auto":
    return "pmap" if jax.device_count() > 1 else "one"
  return mode


def _mesh() -> Mesh:
  return Mesh(np.array(jax.devices()), (AXIS,))


def _replicated(mode: str):
  if mode == "one":
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return NamedSharding(_mesh(), PartitionSpec())


def place(tree: Any, mode: str) -> Any:
  """Puts a tree of arrays on every device that `mode` uses."""
  return jax.device_put(tree, _replicated(resolve(mode)))


def create(init: Callable[[], Any], mode: str) -> Any:
  """Calls a function so that its arrays are born on every device."""
  return jax.jit(init, out_shardings=_replicated(resolve(mode)))()


def like(tree: Any, mode: str) -> Any:
  """Returns shapes, dtypes and shardings of what `create` would return."""
  sharding = _replicated(resolve(mode))
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def share(batch_size: int, mode: str) -> int:
  """Returns the examples that the step sees: a device's part under pmap.

  Raises:
    InputError: the devices do not divide the batch.
  """
  mode = resolve(mode)
  devices = 1 if mode == "one" else jax.device_count()
  if batch_size % devices:
    below = batch_size // devices * devices
    raise errors.InputError(
      f"train.batch_size={batch_size} cannot be divided among {devices} "
      f"devices: use {f'{below} or ' if below else ''}{below + devices}."
    )
  return batch_size // devices if mode == "pmap" else batch_size


def compile_steps(call: Callable, mode: str) -> Callable:
  """Compiles a call of many training steps.

  Args:
    call: `call(state, data, key, *, axis_name, shard) -> (state, metrics)`;
      `shard` splits the leading axis of a tree's arrays among the devices.
    mode: one of MODES.

  Returns:
    `compiled(state, data, key) -> (state, metrics)`; the state that it is
    given is donated.
  """
  mode = resolve(mode)
  if mode == "pmap":
    # pmap wants one mapped argument, though nothing that we pass is mapped.
    mapped = jax.pmap(
      lambda state, data, key, _: call(
        state, data, key, axis_name=AXIS, shard=lambda tree: tree
      ),
      axis_name=AXIS,
      in_axes=(None, None, None, 0),
      out_axes=None,
      donate_argnums=0,
    )
    places = np.arange(jax.device_count())
    return lambda state, data, key: mapped(state, data, key, places)
  shard = lambda tree: tree
  if mode == "jit":
    sharding = NamedSharding(_mesh(), PartitionSpec(AXIS))
    shard = lambda tree: jax.lax.with_sharding_constraint(tree, sharding)
  call = functools.partial(call, axis_name=None, shard=shard)
  return jax.jit(call, donate_argnums=0)
