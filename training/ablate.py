"""Repeats the paper's ablations, and our own, at the tiny scale: short trainings that differ in one setting.

    python -m training.ablate training/configs/tiny_localisation.yaml --steps 1500 --scenes 100 \\
        --only full,no_depth,camera_xy,less_data
    python -m training.ablate training/configs/tiny_reasoning.yaml --steps 1500 --only full,answer_directly

Each variant is trained by the ordinary trainer and measured on the same validation scenes; finished variants are
skipped, and interrupted ones resume. The table is Markdown on stdout, the last line JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from n3d_core.atomic_write import write_text
from n3d_core.errors import ConfigError
from training.entry.command import described, run_command
from training.evaluate import report_of
from training.evaluation.running import run_suite
from training.evaluation.suite import Amount, SceneSuite
from training.evaluation.table import headline, markdown
from training.learn.config import TrainConfig
from training.questions.mixture import SPATIAL_PASSES
from training.scenes.cache import SceneCache
from training.scenes.vocabulary import Vocabulary

_SEED = 2  # validation scenes used neither by `validation:` nor by the calibration


@dataclass(frozen=True)
class Variant:
    """How one variant differs.

    Attributes:
        about: description, for the table.
        overrides: of the training config.
        model: of this project's part of the model's config.
        changes: of the measured model, see `training.evaluation.changes`.
        data: share of the cached images used for training.
        answers: part of the report that its answers are read from: `qa`, or `qa_direct` for a training whose spatial
            questions are all asked without grounding.
    """

    about: str
    overrides: tuple[str, ...] = ()
    model: tuple[tuple[str, Any], ...] = ()
    changes: tuple[str, ...] = ()
    data: float = 1.0
    answers: str = "qa"


VARIANTS = {
    "full": Variant("everything on"),
    "no_depth": Variant("without the 3D encoding", ("data.depth=false",), changes=("no_depth",)),
    "camera_xy": Variant("camera x, y for image u, v", ("data.centers=camera_xy",), changes=("camera_xy",)),
    "less_data": Variant("a tenth of the images", data=0.1),
    "answer_directly": Variant("answers without grounding first", answers="qa_direct"),
    "mean_points": Variant("points pooled as in the release", model=(("points", "mean"),)),
    "row_major": Variant("encoding in the released order", model=(("pe_order", "row_major"),)),
    "hard_bins": Variant("bins as separate words (no softening)", ("loss.sigma=0.0", "loss.sigma_z=0.0")),
    "no_auxiliary": Variant("without the auxiliary heads", ("loss.dense=0.0",)),
    "adamw": Variant("AdamW for all parameters", ("optim.name=adamw",)),
    "no_augmentation": Variant("without augmentation", ("data.augment=false",)),
}


def run_variant(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Trains and measures one variant; its headline figures.

    Raises:
        ConfigError: if a setting is wrong, the folder has a variant with other settings, or the trainer fails.
    """
    variant, folder = VARIANTS[name], Path(args.output) / name
    overrides = [*args.set, *_overrides(variant, args), f"steps={args.steps}", f"output={folder}"]
    config = TrainConfig.from_yaml(args.config, overrides)
    settings = {"training": asdict(config), "model": dict(variant.model), "scenes": args.scenes, "of": args.processes}
    _same_settings(folder / "variant.json", settings)
    report = folder / "report.json"
    if report.exists():
        return dict(json.loads(report.read_text()))
    if variant.model:
        overrides.append(f"init={_changed_init(Path(config.init), folder / 'init', dict(variant.model))}")
    _train(name, [str(args.config), *overrides], args.processes)
    row = _measure(variant, config, args) | {"images": args.steps * config.batch * config.accumulate * args.processes}
    write_text(report, json.dumps(row) + "\n")
    return row


def _overrides(variant: Variant, args: argparse.Namespace) -> list[str]:
    """The variant's overrides, including those that depend on the shared config."""
    shared = TrainConfig.from_yaml(args.config, args.set)
    found = list(variant.overrides)
    if variant.data < 1:
        folders = [shared.data.cache] if shared.data.cache else list(shared.data.caches)
        images = min(len(SceneCache(folder)) for folder in folders)
        found.append(f"data.limit={max(1, int(variant.data * min(images, shared.data.limit or images)))}")
    if variant.answers == "qa_direct":
        if not _asks_questions(shared):
            raise ConfigError(
                f"{args.config}: has no spatial questions to answer directly; use training/configs/tiny_reasoning.yaml"
            )
        weight = sum(shared.data.mixture.get(kind, 0.0) for kind in SPATIAL_PASSES)
        found += [f"data.mixture.{kind}=0.0" for kind in SPATIAL_PASSES if kind != "direct"]
        found.append(f"data.mixture.direct={weight}")
    return found


def _asks_questions(config: TrainConfig) -> bool:
    return any(config.data.mixture.get(kind, 0.0) > 0 for kind in SPATIAL_PASSES)


def _same_settings(path: Path, settings: dict[str, Any]) -> None:
    settings = json.loads(json.dumps(settings))  # as a file gives them back
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings) + "\n")
    elif json.loads(path.read_text()) != settings:
        raise ConfigError(f"{path}: this variant was made with other settings: choose another --output or delete it")


def _changed_init(source: Path, copy: Path, changes: dict[str, Any]) -> Path:
    """A copy of the initial checkpoint folder, with another model config."""
    if not (source / "config.json").exists():
        raise ConfigError(f"init {source}: no config.json; python -m training.tiny {source} writes one")
    shutil.copytree(source, copy, dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text())
    config["n3d"] = config.get("n3d", {}) | changes
    write_text(copy / "config.json", json.dumps(config, indent=1) + "\n")
    return copy


def _train(name: str, arguments: list[str], processes: int) -> None:
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(many if processes > 1 else []), "-m", "training.train", *arguments]
    print(f"variant {name}: {' '.join(command)}", file=sys.stderr, flush=True)
    if subprocess.run(command, stdout=sys.stderr).returncode != 0:
        raise ConfigError(f"the training of variant {name!r} failed: {' '.join(command)}")


def _measure(variant: Variant, config: TrainConfig, args: argparse.Namespace) -> dict[str, Any]:
    folder = Path(config.output)
    model = folder / "model"
    amount = Amount(6, 4 if _asks_questions(config) else 0, 0)
    taught = Vocabulary.of_model(model)
    suite = SceneSuite(args.scenes, _SEED, amount=amount, held_out="validation", vocabulary=taught)
    report = report_of(run_suite(model, suite, args.workers, kept=folder / "frames.jsonl", changes=variant.changes))
    return {**headline(report, variant.answers), "steps": args.steps, "scenes": args.scenes}


def ablate(args: argparse.Namespace) -> dict[str, Any]:
    """Trains and measures the selected variants, and prints their table.

    Raises:
        ConfigError: if one of them is unknown, or cannot be trained.
    """
    names = args.only.split(",")
    if unknown := [n for n in names if n not in VARIANTS]:
        raise ConfigError(f"--only: unknown variants {unknown}; choose from {', '.join(VARIANTS)}")
    rows = {name: run_variant(name, args) for name in names}
    print(markdown("variant", {VARIANTS[name].about: row for name, row in rows.items()}))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = described(__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("set", nargs="*", help="key=value for every variant")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--scenes", type=int, default=100, help="validation scenes for each measurement")
    parser.add_argument("--only", default="full,no_depth,camera_xy,less_data", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--output", type=Path, default=Path("out/ablations"))
    parser.add_argument("--processes", type=int, default=1, help="processes of each training (above 1: torchrun)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of the measurement")
    return run_command(ablate, parser, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
