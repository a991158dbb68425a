"""The benchmark of many images: its inputs are what it says, each way lifts them all, and what is finished stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.lift_scale import main
from training.lift.lift_config import SourceConfig
from training.lift.record import Problems
from training.lift.sources import read_source


def test_images_are_made_once_and_lifted_in_each_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mujoco", reason="scenes are rendered by MuJoCo")
    asked = ["--images", "7", "--scenes", "1", "--size", "160x120", "--output", str(tmp_path), "--json"]
    assert main([*asked, "--ways", "one", "--keep"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["one"]["images"], figures["one_speedup"], figures["equal_bytes"]) == (7, 1.0, True)
    assert figures["one"]["samples"] > 3
    assert len(list((tmp_path / "one").glob("shard-*.tar"))) == figures["one"]["shards"] == 1
    images, depth = str(tmp_path / "data" / "images"), str(tmp_path / "data" / "depth")
    records = list(read_source(SourceConfig("folder", images, depth=depth), Problems()))
    cameras = [r.camera for r in records if r.camera and r.depth and r.annotations]
    assert len(cameras) == 7
    assert all((c.width, c.height) == (160, 120) for c in cameras)
    assert len({c.fx for c in cameras}) > 1  # some are cropped

    report = tmp_path / "one.json"
    report.write_text(json.dumps(figures["one"] | {"sha256": "other"}))
    assert main([*asked, "--ways", "one,two"]) == 1  # bytes differ, from a run that was not repeated
    assert not json.loads(capsys.readouterr().out)["equal_bytes"]
    assert main([*asked, "--ways", "three"]) == 1
    assert "--ways must be some of one, two, ray; got three" in capsys.readouterr().err
