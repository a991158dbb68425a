"""Learning curves, and the table of ablations."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from n3d_core.errors import ConfigError
from n3d_core.network.config import N3DConfig
from training import ablate
from training.evaluation.headline import markdown
from training.learn.config import TrainConfig
from training.learn.curves import _ticks, main, read_run
from training.learn.progress import Progress

MakeConfig = Callable[..., TrainConfig]


def metrics_file(folder: Path, rows: list[dict[str, float]], rest: str = "") -> Path:
    folder.mkdir(parents=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + rest)
    return path


def test_curves_run_over_the_images_seen_and_a_repeated_step_counts_once(tmp_path: Path) -> None:
    rows = [{"step": 20, "images": 640, "loss": 4.0}, {"step": 40, "images": 1280, "loss": 9.0}]
    rows += [{"step": 40, "images": 1280, "loss": 2.0}, {"step": 40, "validation_f1_25": 0.5}]
    path = metrics_file(tmp_path / "a", rows, rest='{"step": 60, "lo')
    run = read_run("a", path, ["loss", "validation_f1_25"])
    assert run.curves == {"loss": [(640, 4.0), (1280, 2.0)], "validation_f1_25": [(1280, 0.5)]}
    assert read_run("a", path, ["loss"], per_step=10).curves["loss"] == [(200, 4.0), (400, 2.0)]


def test_the_trainers_own_rows_say_how_many_images_were_seen(tmp_path: Path) -> None:
    progress = Progress(tmp_path, 100)
    for step in range(1, 11):
        progress.add({"loss": 1.0 / step}, samples=32, tokens=100)
        if step % 5 == 0:
            progress.report(step)
    assert [x for x, _ in read_run("a", tmp_path / "metrics.jsonl", ["loss"]).curves["loss"]] == [160, 320]


def test_a_picture_has_a_panel_a_metric_and_a_line_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one = metrics_file(tmp_path / "x" / "run", [{"step": s, "loss": 10.0 / s, "f1": s / 100} for s in (10, 20, 50)])
    two = metrics_file(tmp_path / "y" / "run", [{"step": s, "loss": 5.0} for s in (10, 100)])
    picture = tmp_path / "pictures" / "curves.svg"
    assert main([str(one), str(two), "--metrics", "loss,f1,none", "--output", str(picture)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["runs"], said["metrics"], said["without_values"]) == (["x/run", "y/run"], ["loss", "f1"], ["none"])
    text = picture.read_text()
    lines = [re.findall(r"[-\d.]+", points) for points in re.findall(r'<polyline points="([^"]*)"', text)]
    assert [len(line) // 2 for line in lines] == [3, 2, 3, 0]
    first = [float(v) for v in lines[1]]
    assert first[0::2] == pytest.approx([33.0, 330.0])  # 10 and 100 steps of 100
    assert first[1] == first[3]
    assert text.count(">x/run<") == 1


def test_axes_have_round_numbers_around_the_values() -> None:
    assert _ticks(0.0, 0.93) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert _ticks(0.0, 26000) == [0, 10000, 20000, 30000]
    assert _ticks(0.0, 0.0) == [0]


def test_files_without_metrics_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl: not a training's metrics"):
        read_run("a", tmp_path / "none.jsonl", ["loss"])
    path = metrics_file(tmp_path / "a", [{"step": 1, "loss": 1.0}])
    assert main([str(path), "--metrics", "speed"]) == 1
    assert "no file holds any of speed" in capsys.readouterr().err
    assert main([str(path), "--names", "a,b"]) == 1
    assert "1 names are wanted" in capsys.readouterr().err


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
    with pytest.raises(ConfigError, match="asks no spatial question"):
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
