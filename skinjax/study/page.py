"""The page that shows a study: one HTML file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from skinjax.report import rendering
from skinjax.study import plots, verdict

_METRIC_NAMES = {
  "balanced_accuracy": "Balanced accuracy",
  "macro_f1": "Macro-F1",
  "accuracy": "Accuracy",
  "mean_auc": "Mean AUC",
  "ece": "ECE",
  "brier": "Brier",
}


def render(
  summary: Mapping[str, Any],
  *,
  sheets: Mapping[str, Image.Image | bytes],
  curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]] | None = None,
  diversity: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
) -> str:
  """Render a study as a self-contained HTML page.

  Images and styles are embedded; the page loads nothing and runs no script. The
  same arguments give the same page.

  The summary may be read back from summary.json. `sheets` are by caption PIL
  images or PNG bytes, shown side by side; `curves` as in `plots.curves`;
  `diversity` has by class the records `{"step": …, "diversity/CLASS": ratio}`
  of the generator's training.
  """
  decided = summary["verdict"]
  pairs = plots.pairs(summary)
  recall_differences = {
    d["class"]: d
    for d in summary["differences"]
    if d["metric"] == "recall" and (d["arm"], d["rival"]) == pairs[0]
  }
  return (
    rendering.environment()
    .get_template("page.html")
    .render(
      summary=summary,
      decided=decided,
      pairs=pairs,
      metric_names=_METRIC_NAMES,
      arms={arm["name"]: arm for arm in summary["arms"]},
      differences={
        (d["arm"], d["rival"], d["metric"]): d
        for d in summary["differences"]
        if d["class"] is None
      },
      recall_differences=recall_differences,
      # A classifier that always says one class has the recall of one class.
      majority_balanced=1
      / sum(c["test_images"] > 0 for c in summary["classes"]),
      min_lesions=verdict.MIN_LESIONS,
      config=json.dumps(summary["config"], indent=2, ensure_ascii=False),
      sheets={
        title: rendering.png_uri(image) for title, image in sheets.items()
      },
      forest=rendering.svg_uri(plots.forest(summary)),
      recalls=rendering.svg_uri(plots.recalls(summary)),
      reliability=rendering.svg_uri(plots.reliability(summary)),
      confusions={
        name: rendering.svg_uri(plots.confusion(summary, name))
        for name in (decided["rival"], decided["arm"])
      },
      curves=rendering.svg_uri(plots.curves(curves)) if curves else None,
      collapsed=[
        name for name, row in summary["diversity"].items() if row["collapsed"]
      ],
      diversity=_diversity_uri(diversity or {}),
    )
  )


def _diversity_uri(records):
  """Draws the classes as the lines of one panel; None if there are none."""
  panel = "diversity of samples / real"
  lines = {
    name: [
      {"step": record["step"], panel: record[f"diversity/{name}"]}
      for record in of_class
      if f"diversity/{name}" in record
    ]
    for name, of_class in records.items()
  }
  runs = {name: [line] for name, line in lines.items() if line}
  return rendering.svg_uri(plots.curves(runs)) if runs else None
