"""Repeats the paper's ablations, and our own, on the tiny scale: short trainings, all alike but for one thing.

    python -m training.ablate training/configs/tiny_localisation.yaml --steps 1500 --output out/ablations \\
        --only full,no_depth,camera_xy,less_data

Each variant is trained by the ordinary trainer and measured on the same validation scenes; a variant that is finished
is not done again. The table is Markdown on stdout, the last line JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from n3d_core.errors import ConfigError, N3DError
from training.evaluate import report_of
from training.evaluation.running import run_suite
from training.evaluation.suite import Amount, SceneSuite


@dataclass(frozen=True)
class Variant:
    """What one training has different: overrides of its config, of the model's config, and how it is measured."""

    about: str
    overrides: tuple[str, ...] = ()
    model: tuple[tuple[str, Any], ...] = ()


VARIANTS = {
    "full": Variant("everything on"),
    "no_depth": Variant("without the 3D encoding", ("data.depth=false",)),
    "camera_xy": Variant("camera x, y instead of image u, v", ("data.centers=camera_xy",)),
    "less_data": Variant("a tenth of the scenes", ("data.limit=1000",)),
    "row_major": Variant("encoding in the released order", model=(("pe_order", "row_major"),)),
    "hard_bins": Variant("bins as separate words (no softening)", ("loss.sigma=0.0",)),
    "no_auxiliary": Variant("without the auxiliary heads", ("loss.dense=0.0",)),
    "adamw": Variant("AdamW for all parameters", ("optim.name=adamw",)),
    "no_augmentation": Variant("without augmentation", ("data.augment=false",)),
}


def run_variant(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Trains and measures one variant; its headline figures.

    Raises:
        ConfigError: if the trainer fails; its output names the reason.
    """
    folder = Path(args.output) / name
    done = folder / "report.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    variant = VARIANTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    overrides = [*args.set, *variant.overrides, f"steps={args.steps}", f"output={folder}"]
    if variant.model:
        overrides.append(f"init={_changed_init(args, folder, dict(variant.model))}")
    command = [sys.executable, "-m", "training.train", str(args.config), *overrides]
    if subprocess.run(command, stdout=sys.stderr).returncode != 0:
        raise ConfigError(f"the training of variant {name!r} failed: {' '.join(command)}")
    suite = SceneSuite(args.scenes, seed=2, amount=Amount(6, 0, 0), held_out="validation")
    report = report_of(run_suite(folder / "model", suite, args.workers, changes=_changes(variant)))
    row = {
        "f1_25": report["grounding"]["f1_25"],
        "f1_50": report["grounding"]["f1_50"],
        "mean_iou": report["grounding"]["mean_iou"],
        "center_offset": report["grounding"]["center_offset"],
        "absent": report["absent"]["accuracy"],
        "steps": args.steps,
        "scenes": args.scenes,
    }
    done.write_text(json.dumps(row) + "\n")
    return row


def _changes(variant: Variant) -> tuple[str, ...]:
    """What the measurement has different too."""
    return tuple(c for c in ("no_depth", "camera_xy") if variant is VARIANTS[c])


def _changed_init(args: argparse.Namespace, folder: Path, changes: dict[str, Any]) -> Path:
    """A copy of the folder that trainings begin from, with another model config."""
    given = [s.removeprefix("init=") for s in args.set if s.startswith("init=")]
    source = Path(given[-1] if given else yaml.safe_load(Path(args.config).read_text())["init"])
    copy = folder / "init"
    shutil.copytree(source, copy, dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text()) | changes
    (copy / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return copy


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown, one row a variant."""
    head = "| variant | F1@0.25 | F1@0.5 | mean IoU | centre offset | absent |\n|---|---|---|---|---|---|"
    lines = [head]
    for name, row in rows.items():
        figures = [row[k] for k in ("f1_25", "f1_50", "mean_iou", "center_offset", "absent")]
        shown = " | ".join("-" if v is None else f"{v:.3f}" for v in figures)
        lines.append(f"| {VARIANTS[name].about} | {shown} |")
    return "\n".join(lines)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("set", nargs="*", help="key=value for every variant")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--only", default=",".join(VARIANTS), help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--output", type=Path, default=Path("out/ablations"))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    names = args.only.split(",")
    unknown = [n for n in names if n not in VARIANTS]
    if unknown:
        parser.error(f"unknown variants {unknown}: known are {', '.join(VARIANTS)}")
    try:
        rows = {name: run_variant(name, args) for name in names}
    except N3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
