r"""Compare the time of skinjax's training steps with PyTorch's.

  python -m benchmarks.train_step \
    [--models=acgan,classifier,fine_tuned,progan,progan_plain] \
    [--widths=16,32,64] [--batch=64] [--size=64] [--rounds=10] [--steps=5] \
    [--json=FILE]

Each framework has its own process, with all cores; they take turns. First both
must report the same losses from the same weights and inputs. Then PyTorch's
variants are tried, and the fastest is timed. skinjax runs the same program as
`main.py`. A step's time, and the ratio skinjax / PyTorch, are medians over the
rounds. Memory is the growth of a process's peak by building, compiling and
running steps, after the framework and the data were loaded.

A ProGAN trains at full resolution; its width is the width at 64x64, twice that
at 32x32 and so on, up to its config's limit. `progan` has its config's loss,
with a gradient penalty; `progan_plain` has no penalty. `fine_tuned` is the
classifier's pretrained network, with the published width.
"""

import argparse
import importlib.util
import os
import platform
import sys
from typing import Any

from benchmarks import arguments, measure, results, workload
from skinjax.runtime import files

_PROGAN = measure.Model(
  config="progan:variant=paper",
  width_keys={"model.base": 16},
  widths=(16, 32),
  torch="torch_progan.Progan",
  fusions=(True,),
  least=4,
  most=256,
  multiple=4,
)
MODELS = {
  "acgan": measure.Model(
    config="acgan:variant=paper",
    width_keys={"model.generator_width": 1, "model.discriminator_width": 1},
    widths=(32, 64),
    torch="torch_steps.Acgan",
    fusions=(False,),
  ),
  "classifier": measure.Model(
    config="classifier",
    width_keys={"model.width": 1},
    widths=(16, 32, 64),
    torch="torch_steps.Classifier",
    fusions=(False, True),
  ),
  # Width 1 is the published network's. No mixup or colour changes in either.
  "fine_tuned": measure.Model(
    config="classifier:network=efficientnet",
    width_keys={},
    widths=(1,),
    torch="torch_steps.Classifier",
    fusions=(False,),
    changes={"augment.mixup": 0.0, "augment.jitter": 0.0},
    least=32,
  ),
  "progan": _PROGAN,
  "progan_plain": _PROGAN._replace(
    changes={"loss.adversarial": "non_saturating", "loss.penalty": "none"}
  ),
  # HAM10000's default GANs, timed by benchmarks.accelerator alone: PyTorch has
  # no counterpart.
  "acgan_projected": measure.Model(
    config="acgan:variant=projected",
    width_keys={"model.generator_width": 1},
    widths=(32,),
  ),
  "progan_projected": measure.Model(
    config="progan:variant=projected",
    width_keys={"model.base": 16},
    widths=(16,),
  ),
}
COMPARED = {name: model for name, model in MODELS.items() if model.torch}


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Run the requested timings; return the JSON document."""
  rows, versions = [], {}
  for name in args.models:
    model = MODELS[name]
    for width in args.widths or model.widths:
      measure.say(f"{name}, width {width}")
      config = model.values(width, args.size, args.batch)
      config = workload.changed(config, log_every=args.steps)
      variant, notes = measure.fastest(model, config, args.size, args.steps)
      eager = {workload.Variant(False, fused) for fused in model.fusions}
      measure.check(name, model, config, args.size, sorted(eager | {variant}))
      row = measure.duel(model, config, args.size, variant, args.rounds)
      versions |= row.pop("versions")
      rows.append({"model": name, "width": width, **row, "notes": notes})
  return {
    "cpu": measure.cpu(),
    "cores": os.cpu_count(),
    "versions": versions | {"python": platform.python_version()},
    "batch": args.batch,
    "size": args.size,
    "rows": rows,
  }


def parse(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse arguments, or exit with a one-line error."""
  parser = arguments.Parser(
    prog="python -m benchmarks.train_step", description=__doc__.split("\n")[0]
  )
  names, add = ",".join(COMPARED), parser.add_argument
  add("--models", type=arguments.names(COMPARED), default=names, help=names)
  add("--widths", type=arguments.positives, help="default: each model's own")
  add("--batch", type=arguments.positive, default=64)
  add("--size", type=arguments.size, default=64, help="pixels")
  add("--rounds", type=arguments.positive, default=10)
  add("--steps", type=arguments.positive, default=5, help="per round")
  add("--json", type=arguments.file, help="also write results here")
  args = parser.parse_args(argv)
  chosen = {name: MODELS[name] for name in args.models}
  arguments.require(parser, chosen, [args.size], [args.batch])
  return args


def main() -> None:
  """Print the table."""
  args = parse()
  if importlib.util.find_spec("torch") is None:
    sys.exit('train_step: PyTorch is missing: pip install ".[bench]"')
  try:
    document = run(args)
  except results.MismatchError as error:
    sys.exit(f"train_step: {error}")
  print(results.heading(document))
  rows = [
    {key: value for key, value in row.items() if key != "notes"}
    for row in document["rows"]
  ]
  print(results.table(rows))
  if args.json:
    files.write_json(args.json, document)


if __name__ == "__main__":
  main()
