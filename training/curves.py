"""Draws learning curves of one or more trainings as an SVG picture.

python -m training.curves out/tiny-localisation/metrics.jsonl --metrics language,validation_f1_25 --output curves.svg
"""

from __future__ import annotations

import argparse
import json
import sys
from html import escape
from pathlib import Path

Curve = list[tuple[float, float]]

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 420, 220, 60, 34, 40
_COLORS = ("#1565c0", "#c62828", "#2e7d32", "#6a1b9a", "#ef6c00", "#00838f", "#5d4037", "#455a64")


def read_curves(path: Path, metrics: list[str]) -> dict[str, Curve]:
    """(step, value) of each metric of a `metrics.jsonl`; of a step that was done twice the last row counts."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    found: dict[str, dict[float, float]] = {m: {} for m in metrics}
    for row in rows:
        for metric in metrics:
            if metric in row:
                found[metric][row["step"]] = row[metric]
    return {m: sorted(points.items()) for m, points in found.items()}


def draw(runs: dict[str, dict[str, Curve]], metrics: list[str]) -> str:
    """One panel a metric, one line a training."""
    height = _TOP + len(metrics) * (_HEIGHT + _GAP)
    width = _LEFT + _WIDTH + 180
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for number, metric in enumerate(metrics):
        curves = {name: run[metric] for name, run in runs.items() if run[metric]}
        parts.append(_panel(metric, curves, _TOP + number * (_HEIGHT + _GAP)))
    for i, name in enumerate(runs):
        y = _TOP + 14 + i * 18
        parts.append(
            f'<rect x="{_LEFT + _WIDTH + 16}" y="{y - 9}" width="14" height="4" fill="{_COLORS[i % len(_COLORS)]}"/>'
        )
        parts.append(f'<text x="{_LEFT + _WIDTH + 36}" y="{y - 3}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(metric: str, curves: dict[str, Curve], top: int) -> str:
    points = [p for curve in curves.values() for p in curve]
    if not points:
        return f'<text x="{_LEFT}" y="{top + 20}">{escape(metric)}: no values</text>'
    last = max(x for x, _ in points) or 1.0
    low, high = min(y for _, y in points), max(y for _, y in points)
    span = (high - low) or 1.0
    parts = [
        f'<text x="{_LEFT}" y="{top - 8}" font-weight="bold">{escape(metric)}</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = top + _HEIGHT * (1 - share)
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{low + share * span:.3g}</text>')
        x = _LEFT + _WIDTH * share
        parts.append(f'<text x="{x:.0f}" y="{top + _HEIGHT + 16}" text-anchor="middle">{last * share:.0f}</text>')
    for i, (_, curve) in enumerate(curves.items()):
        line = " ".join(
            f"{_LEFT + _WIDTH * x / last:.1f},{top + _HEIGHT * (1 - (y - low) / span):.1f}" for x, y in curve
        )
        parts.append(f'<polyline points="{line}" fill="none" stroke="{_COLORS[i % len(_COLORS)]}" stroke-width="1.5"/>')
    return "\n".join(parts)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics_files", nargs="+", type=Path, help="metrics.jsonl; the folder's name is the curve's")
    parser.add_argument("--metrics", default="language,decisions")
    parser.add_argument("--output", type=Path, default=Path("curves.svg"))
    args = parser.parse_args()
    metrics = args.metrics.split(",")
    missing = [str(p) for p in args.metrics_files if not p.exists()]
    if missing:
        print(f"error: {', '.join(missing)}: no such file", file=sys.stderr)
        return 1
    runs = {p.parent.name: read_curves(p, metrics) for p in args.metrics_files}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(draw(runs, metrics))
    print(json.dumps({"output": str(args.output), "runs": list(runs)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
