"""Devices: the only module that uses pmap, meshes and shardings.

Three ways to run a step give the same numbers: `one` device; `pmap`, where
each device holds its part of the batch and the step averages over the axis
`AXIS`; `jit`, where the batch is a global array sharded over devices. State and
data set are global, replicated arrays in all three. The devices may belong to
several processes, which all run the same program.
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
  """Cache compiled programs in a directory, for later processes."""
  jax.config.update("jax_compilation_cache_dir", path)
  # JAX's default is to cache what took a second to compile: evaluation takes
  # half of that.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def mean(tree: Any, axis_name: str | None) -> Any:
  """Average arrays over the device axis; unchanged if axis_name is None."""
  return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def gather(tree: Any, axis_name: str | None) -> Any:
  """Join every device's part of a batch along the leading axis.

  Arrays are unchanged if `axis_name` is None.
  """
  if axis_name is None:
    return tree
  return jax.lax.all_gather(tree, axis_name, tiled=True)


def resolve(mode: str) -> str:
  """Resolve `auto`: pmap with two or more devices, else one.

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
  # flax.linen assumes Auto axes; jax.make_mesh would make them Explicit.
  mesh = Mesh(np.array(jax.devices()), (AXIS,), axis_types=(AxisType.Auto,))
  return NamedSharding(mesh, PartitionSpec(*axes))


def _replicated(mode: str):
  if mode == "one":
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return _sharding()


def place(tree: Any, mode: str) -> Any:
  """Put a tree of arrays on every device that `mode` uses.

  Every process passes the same arrays; `device_put` would check that by sending
  all of them, including the data set, between processes.
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
  """Return this process's first device's copy of a tree of replicated arrays.

  Computations on the copy are local to the process.
  """
  return jax.tree.map(lambda x: x.addressable_data(0), tree)


def create(init: Callable[..., Any], mode: str, *arguments: Any) -> Any:
  """Call a function so that its results are created on every device.

  `arguments` are trees of arrays, the same in every process.
  """
  return jax.jit(init, out_shardings=_replicated(resolve(mode)))(*arguments)


def like(tree: Any, mode: str) -> Any:
  """Return the shapes, dtypes and shardings of a result of `create`."""
  sharding = _replicated(resolve(mode))
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def share(batch_size: int, mode: str) -> int:
  """Return the step's batch size: a device's part under pmap, else all.

  Raises:
    InputError: the number of devices does not divide the batch size.
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
  """Return the number of parts into which a step should divide its examples.

  On a CPU, parts of 8 examples stay in its caches and save memory. On other
  devices, and if the examples are sharded, there is one part.
  """
  if jax.default_backend() != "cpu" or resolve(mode) == "jit" or examples % 8:
    return 1
  return examples // 8


def compile_steps(call: Callable, mode: str) -> Callable:
  """Compile training steps.

  These are `call(state, data, frozen, key, *, axis_name, shard) -> (state,
  metrics)`, where `shard` splits the leading axis of a tree's arrays among the
  devices.

  Returns:
    `compiled(state, data, frozen, key) -> (state, metrics)`; its state argument
    is donated.
  """
  mode = resolve(mode)
  if mode == "pmap":
    # pmap needs at least one mapped argument, and ours are not mapped.
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
  """Join pmap's results, replicated in each process, to global arrays."""
  if jax.process_count() == 1:
    return tree
  return jax.tree.map(
    lambda x: jax.make_array_from_single_device_arrays(
      x.shape, _sharding(), [part.data for part in x.addressable_shards]
    ),
    tree,
  )
