"""The metrics of a training, and the table of ablations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from n3d_core.errors import ConfigError
from n3d_core.network.config import N3DConfig
from training import ablate
from training.evaluation.table import markdown
from training.learn.config import TrainConfig
from training.learn.progress import Progress

MakeConfig = Callable[..., TrainConfig]


def test_the_trainers_rows_say_how_many_images_were_seen_and_go_to_tensorboard(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    progress = Progress(tmp_path, 100, tensorboard=True)
    for step in range(1, 11):
        progress.add({"loss": 1.0 / step}, samples=32, tokens=100)
        if step % 5 == 0:
            progress.report(step)
    progress.write({"step": 10, "validation_f1_25": 0.5})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows if "images" in row] == [160, 320]
    assert rows[0]["loss"] == pytest.approx(sum(1 / s for s in range(1, 6)) / 5, abs=1e-5)
    board = events.EventAccumulator(str(tmp_path))
    board.Reload()
    assert {"loss", "samples_per_s", "validation_f1_25"} <= set(board.Tags()["scalars"])
    drawn = [(e.step, e.value) for e in board.Scalars("loss")]
    assert drawn == [(row["step"], pytest.approx(row["loss"])) for row in rows if "loss" in row]


ROW = {"f1_25": 0.5, "f1_50": 0.25, "mean_iou": None, "center_offset": None, "absent": 1.0, "open": None,
       "numerical": None}  # fmt: skip


def test_the_table_of_ablations_leaves_out_what_nobody_measured() -> None:
    text = markdown("variant", {"everything on": ROW, "without the 3D encoding": ROW | {"f1_25": None}})
    assert text.splitlines() == [
        "| variant | F1@0.25 | F1@0.5 | absent |",
        "|---|---|---|---|",
        "| everything on | 0.500 | 0.250 | 1.000 |",
        "| without the 3D encoding | - | 0.250 | 1.000 |",
    ]


def test_every_variant_is_a_training_that_differs_in_what_it_says(make_config: MakeConfig, tmp_path: Path) -> None:
    shared = make_config("data.mixture={class: 1.0, locate: 2.5, reason: 2.5, direct: 0.5}")
    path = tmp_path / "config.yaml"
    args = ablate.argparse.Namespace(config=path, set=["data.mixture={class: 1.0, locate: 2.5, reason: 2.5}"])
    for name, variant in ablate.VARIANTS.items():
        config = TrainConfig.from_yaml(path, [*args.set, *ablate._overrides(variant, args)])
        assert (config != TrainConfig.from_yaml(path, args.set)) == (name != "full" and not variant.model), name
        if name == "less_data":
            assert config.data.limit == 1  # a tenth of eight images
        if name == "answer_directly":
            assert config.data.mixture == {"class": 1.0, "locate": 0.0, "reason": 0.0, "drill": 0.0, "direct": 5.0}
    assert shared.data.limit == 0
    args.set = []
    with pytest.raises(ConfigError, match="has no spatial questions"):
        ablate._overrides(ablate.VARIANTS["answer_directly"], args)


def test_a_variant_of_other_settings_is_not_taken_for_done(tmp_path: Path) -> None:
    ablate._same_settings(tmp_path / "variant.json", {"steps": 3, "span": (1, 2)})
    ablate._same_settings(tmp_path / "variant.json", {"steps": 3, "span": (1, 2)})
    with pytest.raises(ConfigError, match="made with other settings"):
        ablate._same_settings(tmp_path / "variant.json", {"steps": 4, "span": (1, 2)})


def test_a_variant_of_the_model_changes_what_the_model_reads(small_init: Path, tmp_path: Path) -> None:
    for name, read in (("row_major", ("row_major", "valid")), ("mean_points", ("aligned", "mean"))):
        copy = ablate._changed_init(small_init, tmp_path / name, dict(ablate.VARIANTS[name].model))
        config = N3DConfig.from_file(copy / "config.json")
        assert (config.pe_order, config.points) == read
        assert config.image_longest_side == N3DConfig.from_file(small_init / "config.json").image_longest_side
