"""The main figures of a report, for comparing runs in a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = {
    "f1_25": "F1@0.25",
    "f1_50": "F1@0.5",
    "mean_iou": "mean IoU",
    "center_offset": "centre offset (m)",
    "absent": "absent",
    "open": "open answers",
    "numerical": "numerical answers",
}


def headline(report: Mapping[str, Any], answers: str = "qa") -> dict[str, float | None]:
    """The figures of `COLUMNS`, fractions and metres; None if there was nothing to count.

    Args:
        report: from `training.evaluate.report_of`.
        answers: the part of the report with the answers.
    """
    grounding = report["grounding"]
    return {
        **{key: grounding[key] for key in ("f1_25", "f1_50", "mean_iou", "center_offset")},
        "absent": report["absent"]["accuracy"],
        **{key: report[answers][key] for key in ("open", "numerical")},
    }


def markdown(first: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of rows by name, without columns that are empty in all rows.

    Args:
        first: title of the column of names.
        rows: figures of `headline`; others are not shown.
    """
    shown = [key for key in COLUMNS if any(row[key] is not None for row in rows.values())]
    lines = [f"| {first} | " + " | ".join(COLUMNS[key] for key in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for name, row in rows.items():
        figures = ["-" if row[key] is None else f"{row[key]:.3f}" for key in shown]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    return "\n".join(lines)
