"""Exports in other people's forms, and back to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import CocoFolder

from n3d_core.depth.files import read_point_map
from n3d_core.geometry import Box3D, Camera
from training.lift.export.__main__ import main
from training.lift.export.omni3d import export_omni3d, import_omni3d, read_omni3d
from training.lift.export.sharegpt import (
    box_line,
    export_sharegpt,
    import_sharegpt,
    parse_boxes,
    read_sharegpt,
)
from training.lift.problems import ShardError
from training.lift.reader import LiftedDataset
from training.lift.run import run
from training.lift.sample import Sample, encode_depth
from training.lift.shards import pack, unpack

DEMO = Path(__file__).parents[3] / "shared/data/n3d_demo"


@pytest.fixture(scope="module")
def data(coco_folder: CocoFolder, tmp_path_factory: pytest.TempPathFactory) -> LiftedDataset:
    folder = tmp_path_factory.mktemp("run")
    run(coco_folder.config(folder, alignment="gravity"))
    return LiftedDataset(folder)


def test_shards_unpack_to_what_was_packed(data: LiftedDataset) -> None:
    samples = list(data)
    packed, rows = pack(samples)
    assert list(unpack(packed, "here")) == samples
    assert [next(unpack(packed[r["offset"] : r["offset"] + r["bytes"]], "here")).key for r in rows] == [
        s.key for s in samples
    ]


def test_a_cut_shard_names_the_last_sample(data: LiftedDataset) -> None:
    packed, rows = pack(list(data))
    with pytest.raises(ShardError, match=r"here: (damaged after sample|coco)"):
        list(unpack(packed[: rows[2]["offset"] + 700], "here"))


def test_sharegpt_comes_back_to_the_byte(data: LiftedDataset, tmp_path: Path) -> None:
    export_sharegpt(data, tmp_path)
    assert pack(list(import_sharegpt(tmp_path)))[0] == pack(list(data))[0]


def test_sharegpt_json_alone_holds_boxes_questions_depth_and_camera(data: LiftedDataset, tmp_path: Path) -> None:
    count = export_sharegpt(data, tmp_path)
    read = list(read_sharegpt(tmp_path / "sharegpt.json"))
    assert len(read) == count == data.manifest["groundings"] + data.manifest["questions"]
    by_image = {f"data/{s.key}.jpg": s for s in data}
    for one in read:
        sample = by_image[one.image]
        exact = {tuple(b.size): b for b in sample.boxes()}
        for box in one.boxes:
            np.testing.assert_allclose(box.center, exact[tuple(box.size)].center, atol=1e-9)
    spatial = [one for one in read if len(one.turns) == 4]
    asked = [q for s in data for q in s.meta["questions"]]
    assert [(o.question_type, o.turns[2], o.turns[3]) for o in spatial] == [
        (q["type"], q["text"], q["reply"]) for q in asked
    ]
    depth, camera = read_point_map(tmp_path / read[0].points)
    np.testing.assert_array_equal(depth, by_image[read[0].image].depth_metres())
    assert camera.fx == pytest.approx(by_image[read[0].image].camera.fx, rel=1e-12)


def test_the_messages_have_the_form_of_the_references_demo(data: LiftedDataset, tmp_path: Path) -> None:
    export_sharegpt(data, tmp_path)
    entry = json.loads((tmp_path / "sharegpt.json").read_text())[0]
    assert set(entry) == {"messages", "images", "points", "question_type"}
    assert entry["messages"][0]["role"] == "user"
    assert entry["messages"][0]["content"].startswith("<image>")
    assert entry["messages"][0]["content"].endswith("The reference code is as followed: <code_template>")
    if DEMO.exists():
        theirs = json.loads((DEMO / "questions.json").read_text())[0]
        assert set(theirs) == set(entry)
        assert set(theirs["messages"][0]) == set(entry["messages"][0])


def test_the_references_own_demo_file_is_read() -> None:
    if not DEMO.exists():
        pytest.skip("the reference's demo data are not here")
    entries = json.loads((DEMO / "questions.json").read_text())
    depth, camera = read_point_map(DEMO / "demo2.npz")
    boxes = parse_boxes(entries[1]["messages"][1]["content"], camera)
    assert [b.label for b in boxes] == ["Person", "Orange/Tangerine"]
    assert boxes[0].center[2] == pytest.approx(2.8857421875)
    assert depth.shape == (427, 640)


def test_labels_with_commas_and_parentheses_survive() -> None:
    camera = Camera.from_fov(70, 640, 427)
    box = Box3D("cup (red, big), left", (0.123456, -0.654321, 3.3), (0.1, 0.2, 0.3))
    (back,) = parse_boxes(box_line(0, box, camera) + "\n", camera)
    assert back.label == box.label
    np.testing.assert_allclose(back.center, box.center, atol=1e-12)
    assert back.size == box.size


def test_omni3d_comes_back_to_the_byte(data: LiftedDataset, tmp_path: Path) -> None:
    export_omni3d(data, tmp_path)
    assert pack(list(import_omni3d(tmp_path)))[0] == pack(list(data))[0]


def test_omni3d_boxes_corners_and_dimensions_agree(data: LiftedDataset, tmp_path: Path) -> None:
    export_omni3d(data, tmp_path)
    document = json.loads((tmp_path / "omni3d.json").read_text())
    for a in document["annotations"]:
        corners, turn = np.array(a["bbox3D_cam"]), np.array(a["R_cam"])
        width, height, length = a["dimensions"]
        own = (corners - a["center_cam"]) @ turn  # in the box's own axes
        np.testing.assert_allclose(np.ptp(own, axis=0), [length, height, width], atol=1e-6)
        np.testing.assert_allclose(own[0], [-length / 2, -height / 2, -width / 2], atol=1e-6)
        assert np.linalg.det(turn) == pytest.approx(1.0)
    boxes = [b for _, _, own in read_omni3d(tmp_path / "omni3d.json") for b in own]
    upright = [o["upright"] for s in data for o in s.meta["objects"]]
    assert len(boxes) == len(upright)
    for box, entry in zip(boxes, upright, strict=True):
        np.testing.assert_allclose(box.center, entry["center"], atol=1e-9)
        np.testing.assert_allclose(box.size, entry["size"], atol=1e-9)


def test_the_command_writes_both_forms(data: LiftedDataset, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for form in ("sharegpt", "omni3d"):
        assert main([str(data.folder), "--format", form, "--output", str(tmp_path / form)]) == 0
        assert json.loads(capsys.readouterr().out)["samples"] == 8
    assert main([str(tmp_path), "--format", "omni3d", "--output", str(tmp_path / "x")]) == 2
    assert "manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize(("far", "unit"), [(5.0, 0.001), (65.0, 0.001), (80.0, 0.002), (900.0, 0.02)])
def test_depth_is_kept_to_the_step_and_written_again_to_the_byte(far: float, unit: float) -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.2, far, (20, 30)).astype(np.float32)
    depth[0, 0] = far
    depth[3, 4] = np.nan
    data, step, stored = encode_depth(depth)
    assert step == pytest.approx(unit)
    np.testing.assert_allclose(stored, depth, atol=unit * 0.51, equal_nan=True)
    meta = {"depth": {"unit": step}, "camera": {}}
    back = Sample("k", b"", "jpg", data, meta).depth_metres()
    np.testing.assert_array_equal(back, stored)
    assert encode_depth(back, step)[0] == data
