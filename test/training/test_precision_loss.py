"""What lower precisions cost: the same scenes for each, and no frame that another one answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.precision import main
from training.evaluate import work_file
from training.evaluation.suite import SceneSuite
from training.evaluation.table import markdown


def test_finished_frames_of_one_precision_are_not_another_ones(tmp_path: Path) -> None:
    suite = SceneSuite(1)
    files = {work_file(tmp_path, "n3d-tiny", suite, backend) for backend in ("torch", "onnx", "onnx:int8", "onnx:int4")}
    assert len(files) == 4
    assert {file.parent for file in files} == {tmp_path}


@pytest.mark.parametrize("backends", ["", "torch,torch"])
def test_different_backends_are_wanted(backends: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--backends", backends]) == 1
    assert "must name different backends, the reference first" in capsys.readouterr().err


def test_what_could_not_be_counted_is_a_dash() -> None:
    row = {"f1_25": 0.5, "f1_50": None, "absent": 1.0, "open": 0.25, "numerical": 0.0, "mean_iou": 0.7}
    rows = {"torch": {**row, "center_offset": None}, "onnx": {**row, "f1_50": 0.25, "center_offset": None}}
    lines = markdown("backend", rows).splitlines()
    assert lines[0] == "| backend | F1@0.25 | F1@0.5 | mean IoU | absent | open answers | numerical answers |"
    assert lines[2] == "| torch | 0.500 | - | 0.700 | 1.000 | 0.250 | 0.000 |"


@pytest.mark.slow
def test_onnx_runtime_in_fp32_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="the backend: pip install 'n3d-ros[onnxruntime,export]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = ["--backends", "torch,onnx:fp32", "--scenes", "1", "--groundings", "2", "--questions", "1"]
    assert main([*asked, "--workers", "1", "--work", str(tmp_path / "work")]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(rows) == ["torch", "onnx:fp32"]
    assert rows["torch"]["f1_25"] == rows["onnx:fp32"]["f1_25"]
    assert all(not loss for row in rows.values() for loss in row["loss"].values())
    assert len(list((tmp_path / "work").glob("*.jsonl"))) == 2
