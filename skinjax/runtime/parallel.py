"""Devices: the only module that knows of pmap, meshes and shardings.

Three ways to run a step give the same numbers: `one` device; `pmap`, where
each device holds its part of the batch and the step averages over the axis
`AXIS`; `jit`, where the batch is a global array that is sharded over devices.
State and data set are global, replicated arrays in all three, and the devices
may belong to several processes, which all run the same program.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from skinjax.runtime import errors

AXIS = "devices"
MODES = ("auto", "one", "pmap", "jit")


def keep_compiled(path: str) -> None:
  """Keep this process's compiled programs in a directory, for the next."""
  jax.config.update("jax_compilation_cache_dir", path)
  # JAX keeps what took a second to compile: evaluation takes half of that.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def mean(tree: Any, axis_name: str | None) -> Any:
  """Average arrays over the device axis; None means there is none."""
  return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def gather(tree: Any, axis_name: str | None) -> Any:
  """Join every device's part of a batch along the leading axis."""
  if axis_name is None:
    return tree
  return jax.lax.all_gather(tree, axis_name, tiled=True)


def resolve(mode: str) -> str:
  """Return the mode that `auto` stands for: pmap from two devices on.

  Raises:
    InputError: there is no such mode, or it is not for several processes.
  """
  errors.require_known("parallel", mode, MODES)
  if mode == "auto":
    return "pmap" if jax.device_count() > 1 else "one"
  if mode == "one" and jax.process_count() > 1:
    raise errors.InputError(
      f"parallel=one is for one process, and there are {jax.process_count()}: "
      "use pmap or jit."
    )
  return mode


def _sharding(*axes: str) -> NamedSharding:
  # Auto is what flax.linen assumes; jax.make_mesh would make them Explicit.
  mesh = Mesh(np.array(jax.devices()), (AXIS,), axis_types=(AxisType.Auto,))
  return NamedSharding(mesh, PartitionSpec(*axes))


def _replicated(mode: str):
  if mode == "one":
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return _sharding()


def place(tree: Any, mode: str) -> Any:
  """Put a tree of arrays on every device that `mode` uses.

  Every process gives the same arrays; `device_put` would send them around to
  make sure, all of the data set.
  """
  sharding = _replicated(resolve(mode))
  if sharding.is_fully_addressable:
    return jax.device_put(tree, sharding)
  return jax.tree.map(
    lambda x: jax.make_array_from_callback(
      x.shape, sharding, lambda index: x[index]
    ),
    tree,
  )


def local(tree: Any) -> Any:
  """Return a tree of replicated arrays as this process's first device has it.

  What each process computes from it, it computes alone.
  """
  return jax.tree.map(lambda x: x.addressable_data(0), tree)


def create(init: Callable[..., Any], mode: str, *arguments: Any) -> Any:
  """Call a function so that its arrays are born on every device.

  `arguments` are trees of arrays, in every process the same.
  """
  return jax.jit(init, out_shardings=_replicated(resolve(mode)))(*arguments)


def like(tree: Any, mode: str) -> Any:
  """Return shapes, dtypes and shardings of what `create` would return."""
  sharding = _replicated(resolve(mode))
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def share(batch_size: int, mode: str) -> int:
  """Return the examples that the step sees: a device's part under pmap.

  Raises:
    InputError: the devices do not divide the batch.
  """
  mode = resolve(mode)
  devices = 1 if mode == "one" else jax.device_count()
  if batch_size % devices:
    below = batch_size // devices * devices
    raise errors.InputError(
      f"A batch of {batch_size} (train.batch_size or growth.batch_sizes) "
      f"cannot be divided among {devices} devices: use "
      f"{f'{below} or ' if below else ''}{below + devices}."
    )
  return batch_size // devices if mode == "pmap" else batch_size


def parts(examples: int, mode: str) -> int:
  """Return into how many parts a step had best divide its examples.

  On a CPU parts of 8: what is computed of them stays in its caches, and memory
  is saved. Elsewhere, and where the examples are sharded, there is one.
  """
  if jax.default_backend() != "cpu" or resolve(mode) == "jit" or examples % 8:
    return 1
  return examples // 8


def compile_steps(call: Callable, mode: str) -> Callable:
  """Compile training steps.

  That is `call(state, data, frozen, key, *, axis_name, shard) -> (state,
  metrics)`, where `shard` splits the leading axis of a tree's arrays among the
  devices.

  Returns:
    `compiled(state, data, frozen, key) -> (state, metrics)`; the state that it
    is given is donated.
  """
  mode = resolve(mode)
  if mode == "pmap":
    # pmap wants one mapped argument, though nothing that we pass is mapped.
    mapped = jax.pmap(
      lambda state, data, frozen, key, _: call(
        state, data, frozen, key, axis_name=AXIS, shard=lambda tree: tree
      ),
      axis_name=AXIS,
      in_axes=(None, None, None, None, 0),
      out_axes=None,
      donate_argnums=0,
    )
    places = np.arange(jax.local_device_count())
    return lambda *arguments: _global(mapped(*arguments, places))
  if mode == "one":
    call = functools.partial(call, axis_name=None, shard=lambda tree: tree)
    return jax.jit(call, donate_argnums=0)
  split = functools.partial(
    jax.lax.with_sharding_constraint, shardings=_sharding(AXIS)
  )
  call = functools.partial(call, axis_name=None, shard=split)
  return jax.jit(call, donate_argnums=0, out_shardings=_sharding())


def _global(tree: Any) -> Any:
  """Join what pmap returns, replicated in each process, to global arrays."""
  if jax.process_count() == 1:
    return tree
  return jax.tree.map(
    lambda x: jax.make_array_from_single_device_arrays(
      x.shape, _sharding(), [part.data for part in x.addressable_shards]
    ),
    tree,
  )
