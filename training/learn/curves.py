"""Draws learning curves of one or more trainings as an SVG picture, one panel a metric.

    python -m training.learn.curves out/tiny-localisation/metrics.jsonl --output docs/curves.svg
    python -m training.learn.curves out/ablations/*/metrics.jsonl --metrics class_accuracy,validation_f1_25

They are drawn over the images seen, so that trainings with other batches compare; `--per-step` says how many a step
took where the metrics do not.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from n3d_core.atomic_write import atomic_write
from n3d_core.errors import ConfigError, N3DError

_WIDTH, _HEIGHT, _LEFT, _TOP = 330, 190, 52, 30  # of a panel's frame, and the room beside and above it
_PANEL = (_LEFT + _WIDTH + 18, _TOP + _HEIGHT + 46)
_COLUMNS, _LEGEND = 2, 20
_COLORS = ("#1565c0", "#c62828", "#2e7d32", "#6a1b9a", "#ef6c00", "#00838f", "#5d4037", "#455a64")
_TITLES = {
    "loss": "loss",
    "language": "loss of the language",
    "class_accuracy": "classes read right",
    "decisions": "one more box or the end: right",
    "validation_f1_25": "validation: F1 at IoU 0.25",
    "validation_f1_50": "validation: F1 at IoU 0.5",
    "validation_mean_iou": "validation: mean IoU",
    "validation_absent": "validation: absent objects",
    "validation_open": "validation: open answers",
    "validation_numerical": "validation: numerical answers",
}


@dataclass(frozen=True)
class Run:
    """One training: its name, and (images seen, or steps; value) of each metric in their order."""

    name: str
    curves: dict[str, list[tuple[float, float]]]


def read_run(name: str, path: Path, metrics: Sequence[str], per_step: int = 0) -> Run:
    """The curves of a `metrics.jsonl`; of a step that was done twice the last row counts.

    Args:
        name: of the run.
        path: of the file.
        metrics: which.
        per_step: images a step; 0 takes what the rows say, and steps where they say nothing.

    Raises:
        ConfigError: if the file is missing or holds no metrics.
    """
    try:
        rows = _rows(path.read_text())
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: not a training's metrics ({type(error).__name__}: {error})") from error
    counted = [row["images"] / row["step"] for row in rows if "images" in row]
    scale = per_step or (counted[-1] if counted else 1)
    found: dict[str, dict[float, float]] = {metric: {} for metric in metrics}
    for row in rows:
        for metric in metrics:
            if math.isfinite(row.get(metric, math.nan)):
                found[metric][row["step"] * scale] = row[metric]
    return Run(name, {metric: sorted(points.items()) for metric, points in found.items()})


def _rows(text: str) -> list[dict[str, float]]:
    lines = text.split("\n")
    whole = [json.loads(line) for line in lines[:-1] if line.strip()]  # what follows the last newline was cut short
    if not all(row["step"] > 0 for row in whole) or not whole:
        raise ValueError("rows with a step are wanted")
    return whole


def draw(runs: Sequence[Run], metrics: Sequence[str], over: str = "images seen") -> str:
    """An SVG with a panel for each metric, in two columns, and one line a run in each."""
    columns = min(_COLUMNS, len(metrics))
    width, top = columns * _PANEL[0], _LEGEND * len(runs) if len(runs) > 1 else 0
    height = top + math.ceil(len(metrics) / columns) * _PANEL[1]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="11" fill="#333"><rect width="100%" height="100%" fill="white"/>'
    ]
    for i, run in enumerate(runs if top else ()):
        y = 16 + i * _LEGEND
        parts.append(f'<rect x="{_LEFT}" y="{y - 5}" width="18" height="3" fill="{_COLORS[i % len(_COLORS)]}"/>')
        parts.append(f'<text x="{_LEFT + 26}" y="{y}">{escape(run.name)}</text>')
    for number, metric in enumerate(metrics):
        row, column = divmod(number, columns)
        x, y = column * _PANEL[0] + _LEFT, top + row * _PANEL[1] + _TOP
        parts.append(f'<g transform="translate({x},{y})">{_panel(metric, [r.curves[metric] for r in runs], over)}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(metric: str, curves: Sequence[Sequence[tuple[float, float]]], over: str) -> str:
    """One panel; the origin is the upper left corner of its frame."""
    title = f'<text y="-9" font-size="12" font-weight="bold">{escape(_TITLES.get(metric, metric))}</text>'
    frame = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>'
    points = [p for curve in curves for p in curve]
    if not points:
        return f'{title}{frame}<text x="12" y="24">no values</text>'
    across = _ticks(0.0, max(x for x, _ in points))
    up = _ticks(min(0.0, *(y for _, y in points)), max(y for _, y in points))
    parts = [title]
    for value in up:
        y = _place(value, up, _HEIGHT)
        parts.append(f'<path d="M0 {_HEIGHT - y:.1f}h{_WIDTH}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="-6" y="{_HEIGHT - y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in across:
        x = _place(value, across, _WIDTH)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT + 15}" text-anchor="middle">{_short(value)}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT + 31}" text-anchor="middle">{over}</text>{frame}')
    for i, curve in enumerate(curves):
        line = " ".join(f"{_place(x, across, _WIDTH):.1f},{_HEIGHT - _place(y, up, _HEIGHT):.1f}" for x, y in curve)
        color = _COLORS[i % len(_COLORS)]
        dots = [line] if len(curve) == 1 else []
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        parts += [f'<circle cx="{d.split(",")[0]}" cy="{d.split(",")[1]}" r="2.5" fill="{color}"/>' for d in dots]
    return "".join(parts)


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers, evenly spaced, the first not over `low` and the last not under `high`."""
    rough = max(high - low, 1e-9) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    return [i * step for i in range(first, math.ceil(high / step - 1e-9) + 1)]


def _place(value: float, ticks: Sequence[float], length: int) -> float:
    return (value - ticks[0]) / (ticks[-1] - ticks[0]) * length if len(ticks) > 1 else 0.0


def _short(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' names; with the folder above where two have the same."""
    short = [p.resolve().parent.name for p in paths]
    often = Counter(short)
    return [n if often[n] == 1 else "/".join(p.resolve().parent.parts[-2:]) for n, p in zip(short, paths, strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="metrics.jsonl of each training")
    parser.add_argument("--metrics", default="language,class_accuracy,decisions,validation_f1_25")
    parser.add_argument("--names", help="of the trainings, separated by commas; their folders' names by default")
    parser.add_argument("--per-step", type=int, default=0, help="images a step, all processes together")
    parser.add_argument("--output", type=Path, default=Path("curves.svg"))
    args = parser.parse_args(arguments)
    metrics, names = args.metrics.split(","), args.names.split(",") if args.names else _names(args.files)
    try:
        if len(names) != len(args.files):
            raise ConfigError(f"--names {args.names}: {len(args.files)} names are wanted, one a file")
        runs = [read_run(n, p, metrics, args.per_step) for n, p in zip(names, args.files, strict=True)]
        empty = [m for m in metrics if not any(run.curves[m] for run in runs)]
        metrics = [m for m in metrics if m not in empty]
        if not metrics:
            raise ConfigError(f"no file holds any of {', '.join(empty)}")
        over = "images seen" if args.per_step or all('"images"' in p.read_text() for p in args.files) else "steps"
        args.output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(args.output) as part:
            part.write_text(draw(runs, metrics, over))
    except (N3DError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"output": str(args.output), "runs": names, "metrics": metrics, "without_values": empty}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
