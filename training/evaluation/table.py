"""The report as a table in the paper's layout, and its main figures as a row of a comparison of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OPEN_COLUMNS = {
    "left_right": "left/right", "front_behind": "front/behind", "above_below": "above/below", "wide_thin": "wide/thin",
    "tall_short": "tall/short", "big_small": "big/small", "relative_distance": "rel. dist.",
    "depth_order": "depth order",    "extreme": "extreme",
}  # fmt: skip
NUMBER_COLUMNS = {
    "width": "width", "height": "height", "length": "length", "distance": "distance", "vertical_distance": "vertical",
    "horizontal_distance": "horizontal", "direction": "direction", "count": "count",
}  # fmt: skip
ROWS = {
    "qa": "model", "qa_audited": "audited", "qa_own_boxes": "geometry, own boxes",
    "qa_geometry": "geometry, true boxes", "qa_direct": "no grounding", "qa_median": "constant answer",
}  # fmt: skip


GROUNDING_HEAD = (
    "queries", "F1@0.25", "F1@0.5", "P@0.25", "R@0.25", "mean IoU", "offset m", "proj. IoU", "macro image",
    "macro class", "absent",
)  # fmt: skip


def table(report: dict[str, Any]) -> str:
    """The main figures; shares are in percent."""
    lines = ["Grounding", *_grid(GROUNDING_HEAD, _grounding_rows(report))]
    for title, columns, group in (
        ("Open-ended", OPEN_COLUMNS, "open"),
        ("Numerical (±25 %)", NUMBER_COLUMNS, "numerical"),
    ):
        asked = [c for c in columns if c in report["qa"]["by_type"]]
        if not asked:
            continue
        rows = []
        for key, name in ROWS.items():
            types = report[key].get("by_type", {})
            cells = [_percent(types[c]["accuracy"]) if c in types else "" for c in asked]
            rows.append([name, *cells, _percent(report[key][group])])
        lines += ["", title, *_grid(["answer", *(columns[c] for c in asked), "all"], rows)]
    s = report["scores"]
    lines += ["", f"Scores: ECE {_number(s['ece'])}, AUROC {_number(s['auroc'])}, "
              f"68 % intervals hold {_percent(s['interval_68'])}, 95 % {_percent(s['interval_95'])}"]  # fmt: skip
    return "\n".join(lines)


def _grounding_rows(report: dict[str, Any]) -> list[list[str]]:
    g = report["grounding"]
    shares = ("f1_25", "f1_50", "precision_25", "recall_25")
    named = [_number(g[k]) for k in ("mean_iou", "center_offset", "projected_iou")]
    named += [_percent(v) for v in (g["macro_image"]["f1_25"], g["macro_class"]["f1_25"], report["absent"]["accuracy"])]
    rows = [["named", *(_percent(g[k]) for k in shares), *named]]
    for kind, v in g["by_kind"].items():
        rows.append([kind, *(_percent(v[k]) for k in shares), _number(v["mean_iou"]), *[""] * 5])
    by_ratio = g.get("by_ratio", {})
    for ratio, v in by_ratio.items() if len(by_ratio) > 1 else ():
        rows.append([f"named, {ratio}", *(_percent(v[k]) for k in shares), _number(v["mean_iou"]), *[""] * 5])
    return rows


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    return ["  ".join(str(c).rjust(w) if i else str(c).ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
            for r in [head, *rows]]  # fmt: skip


HEADLINE = {
    "f1_25": "F1@0.25",
    "f1_50": "F1@0.5",
    "mean_iou": "mean IoU",
    "center_offset": "centre offset (m)",
    "absent": "absent",
    "open": "open answers",
    "numerical": "numerical answers",
}


def headline(report: Mapping[str, Any], answers: str = "qa") -> dict[str, float | None]:
    """The figures of `HEADLINE`, fractions and metres; None if there was nothing to count.

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
    shown = [key for key in HEADLINE if any(row[key] is not None for row in rows.values())]
    lines = [f"| {first} | " + " | ".join(HEADLINE[key] for key in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for name, row in rows.items():
        figures = ["-" if row[key] is None else f"{row[key]:.3f}" for key in shown]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    return "\n".join(lines)
