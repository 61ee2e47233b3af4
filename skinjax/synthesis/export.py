"""The task that exports a generator as one file, for any JAX program."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from absl import logging
from jax import export as jax_export

from skinjax.runtime import errors, files, workdir
from skinjax.synthesis import generators, synthesize
from skinjax.training import trained

PLATFORMS = ("cpu", "cuda", "tpu")
NAME, CARD = "generator.jax_export", "generator.json"


def run(config: ml_collections.ConfigDict, path: str | pathlib.Path) -> None:
  """Write WORKDIR/generator.jax_export and its description, generator.json.

  The first is what `exported` returns; the second has the class names by label,
  the dimension of the latents, and the generator's provenance.

  Raises:
    InputError: no generator, or one of several networks.
  """
  config = ml_collections.FrozenConfigDict(config)
  generator = generators.load(config.generator, config.generator_checkpoint)
  if generator.by_class:
    raise errors.InputError(
      f"config.generator={config.generator} has a network for each class: "
      f"choose one, such as {generator.path / generator.class_names[0]}."
    )
  with workdir.claim(
    path, config, contents={"generator": generator.digest}
  ) as path:
    files.write_bytes(path / NAME, exported(generator.networks[0]))
    files.write_json(path / CARD, _card(generator))
    logging.info(
      "%s generates images [n, %d, %d, %d] from latents [n, %d] and labels [n]",
      path / NAME,
      *(generator.info.size, generator.info.size, generator.info.channels),
      generator.num_latents,
    )


def exported(network: trained.Trained) -> bytes:
  """Serialize a generator, including its weights, with `jax.export`.

  The exported function is `images = f(latents, labels)`. It maps standard
  normal latents, float32 [n, latents], and labels, int32 [n], for any n, to
  uint8 [n, size, size, channels]. It runs on each of PLATFORMS.
  """
  (n,) = jax_export.symbolic_shape("n")
  latents = jax.ShapeDtypeStruct((n, network.config.model.latents), jnp.float32)
  labels = jax.ShapeDtypeStruct((n,), jnp.int32)
  draw = jax.jit(trained.pure_draw(network))
  made = jax_export.export(draw, platforms=PLATFORMS)(latents, labels)
  return bytes(made.serialize())


def _card(generator: generators.Generator) -> dict[str, Any]:
  return {
    "class_names": list(generator.class_names),
    "latents": generator.num_latents,
    "platforms": list(PLATFORMS),
    "jax": jax.__version__,
    **synthesize.provenance_of(generator),
  }
