"""Renders the report of a study as one self-contained HTML file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from skinjax.report import rendering
from skinjax.study import plots, verdict
from skinjax.study.scoring import HEADLINE_METRIC, WITH, WITHOUT

_METRIC_NAMES = {
  "balanced_accuracy": "Balanced accuracy",
  "accuracy": "Accuracy",
  "macro_f1": "Macro-F1",
  "mean_auc": "Mean AUC",
  "ece": "ECE",
  "brier": "Brier",
}


def render(
  summary: Mapping[str, Any],
  *,
  sheets: Mapping[str, Image.Image | bytes],
  diversity: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
) -> str:
  """Render a study as a self-contained HTML page.

  Images and styles are embedded; the page loads nothing and runs no script. The
  same arguments give the same page.

  `summary` may be read back from summary.json. `sheets` maps captions to PIL
  images or PNG bytes, which are shown side by side. `diversity` maps classes to
  records `{"step": …, "diversity/CLASS": ratio}` of the generator's training.
  """
  decided = summary["verdict"]
  without, with_ = plots.procedures(summary)
  headline = [
    d for d in summary["differences"] if d["metric"] == HEADLINE_METRIC
  ]
  dosed = [n["name"] for n in summary["networks"]]
  dosed = [name for name in dosed if len(plots.doses_of(summary, name)) > 1]
  curve = summary["learning_curve"]
  return (
    rendering.environment()
    .get_template("study.html")
    .render(
      summary=summary,
      decided=decided,
      procedures={WITHOUT: without, WITH: with_},
      metric_names=_METRIC_NAMES,
      strict_level="{:.1%}".format(
        1 - (1 - summary["level"]) / len(summary["classes"])
      ),
      recipes=_recipes(summary["arms"]),
      arms=plots.by_network(summary, summary["arms"]),
      differences=plots.by_network(summary, headline),
      other_differences={
        (d["network"], d["arm"], d["metric"]): d
        for d in summary["differences"]
        if d["class"] is None
      },
      recall_differences={
        d["class"]: d
        for d in summary["differences"]
        if d["metric"] == "recall"
        and (d["network"], d["arm"]) == (decided["network"], WITH)
      },
      validated={
        network: list(
          dict.fromkeys(a for c in folds.values() for a in c["validation"])
        )
        for network, folds in summary["choices"].items()
      },
      chosen_by=_chosen_by(summary["choices"][decided["network"]]),
      min_lesions=verdict.MIN_LESIONS,
      least_in_bin=plots.LEAST_IN_BIN,
      config=json.dumps(summary["config"], indent=2, ensure_ascii=False),
      sheets={
        title: rendering.png_uri(image) for title, image in sheets.items()
      },
      forest=rendering.svg_uri(plots.forest(summary)),
      recalls=rendering.svg_uri(plots.recalls(summary)),
      doses={
        name: rendering.svg_uri(plots.doses(summary, name)) for name in dosed
      },
      learning_curve=(
        rendering.svg_uri(plots.learning_curve(summary)) if curve else None
      ),
      reliability=rendering.svg_uri(plots.reliability(summary)),
      confusions={
        arm["name"]: rendering.svg_uri(plots.confusion(summary, arm))
        for arm in (without, with_)
      },
      collapsed=[
        name for name, row in summary["diversity"].items() if row["collapsed"]
      ],
      diversity=_diversity_uri(diversity or {}, summary["collapse"]),
    )
  )


def _chosen_by(choices) -> str:
  """Return how many seeds folds' choices are made by, in words: `2 seeds`."""
  numbers = sorted({len(choice["seeds"]) for choice in choices.values()})
  noun = "seed" if numbers == [1] else "seeds"
  return f"{' or '.join(map(str, numbers))} {noun}"


def _recipes(arms):
  """Map each arm's name to its description and the networks that have it."""
  found = {}
  for arm in arms:
    if arm["name"] not in (WITH, WITHOUT):
      row = {"description": arm["description"], "networks": []}
      found.setdefault(arm["name"], row)["networks"].append(arm["network"])
  return found


def _diversity_uri(records, threshold: float) -> str | None:
  """Plot one line per class; return None without records."""
  lines = {
    name: [
      (record["step"], record[f"diversity/{name}"])
      for record in of_class
      if f"diversity/{name}" in record
    ]
    for name, of_class in records.items()
  }
  lines = {name: line for name, line in lines.items() if line}
  if not lines:
    return None
  return rendering.svg_uri(plots.diversity(lines, threshold))
