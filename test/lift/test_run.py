"""Whole runs: the same bytes however they are made, taken up again, and through all kinds of bad input."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import CocoFolder

from n3d_core.errors import CheckpointError, ConfigError
from training.lift import shards
from training.lift.cleaning import CleanConfig
from training.lift.lift_config import LiftConfig, ModelsConfig, SourceConfig
from training.lift.observation import Observation
from training.lift.problems import ImageProblem, ShardError, SourceError
from training.lift.reader import LiftedDataset
from training.lift.record import Record
from training.lift.run import main, run

ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    """All that must not depend on how a run was made."""
    names = [p for p in folder.iterdir() if p.suffix == ".tar" or p.name in ("index.parquet", "manifest.json")]
    return {p.name: p.read_bytes() for p in names}


@pytest.fixture(scope="module")
def finished(coco_folder: CocoFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert run(coco_folder.config(folder))["complete"]
    return folder


def test_a_run_writes_samples_whose_boxes_are_near_the_truth(finished: Path, coco_folder: CocoFolder) -> None:
    data = LiftedDataset(finished, verify=True)
    assert len(data) == 8
    offsets = []
    for sample in data:
        scene = coco_folder.scenes[int(sample.key.removeprefix("coco_"))]
        for entry, box in zip(sample.meta["objects"], sample.boxes("visible"), strict=True):
            truth = scene.visible[(int(entry["annotation"]) - 1) % 5]
            assert truth is not None
            offsets.append(abs(box.center[2] - truth.center[2]) / truth.center[2])
    assert len(offsets) >= 30
    assert np.median(offsets) < 0.03
    assert data.manifest["objects"] == len(offsets)
    assert sum(len(s.meta["questions"]) for s in data) == data.manifest["questions"] > 20


def test_index_gives_each_sample_without_reading_the_shard(finished: Path) -> None:
    data = LiftedDataset(finished)
    assert [data[i].key for i in range(len(data))] == [s.key for s in data]
    assert data[-1].meta == list(data)[-1].meta
    with pytest.raises(IndexError, match="has 8"):
        data[8]


def test_every_sample_is_read_by_exactly_one_rank(finished: Path) -> None:
    data = LiftedDataset(finished)
    for seed in (None, 3):
        keys = [s.key for rank in range(3) for s in data.stream(rank, 3, seed)]
        assert sorted(keys) == sorted(s.key for s in data)


def test_a_run_in_two_processes_gives_the_same_bytes(finished: Path, coco_folder: CocoFolder, tmp_path: Path) -> None:
    assert run(coco_folder.config(tmp_path), workers=2)["complete"]
    assert contents(tmp_path) == contents(finished)


@pytest.mark.slow
def test_a_run_on_ray_gives_the_same_bytes(finished: Path, coco_folder: CocoFolder, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    assert run(coco_folder.config(tmp_path), workers=2, ray="local")["complete"]
    assert contents(tmp_path) == contents(finished)


@pytest.mark.slow
def test_networks_on_ray_give_the_same_bytes(coco_folder: CocoFolder, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("transformers")
    from tiny_models import save_sam2

    models = ModelsConfig(segmenter=str(save_sam2(tmp_path / "sam2")))
    for folder, settings in (("here", {}), ("ray", {"workers": 2, "ray": "local"})):
        config = replace(coco_folder.config(tmp_path / folder), models=models)
        assert run(config, **settings)["complete"]
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


@pytest.mark.slow
def test_a_killed_ray_worker_costs_no_shard_and_doubles_none(
    finished: Path, coco_folder: CocoFolder, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    psutil = pytest.importorskip("psutil")
    killed: list[str] = []
    stop = threading.Event()

    def kill_one() -> None:
        while not killed and not stop.wait(0.05):
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    name = " ".join(child.cmdline())
                    if name.startswith("ray::") and "Map" in name:
                        child.kill()
                        killed.append(name)
                        break

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        result = run(coco_folder.config(tmp_path), workers=2, ray="local")
    finally:
        stop.set()
        thread.join()
    assert killed, "no worker was killed in time"
    assert result["complete"]
    assert contents(tmp_path) == contents(finished)


def test_a_run_taken_up_again_makes_only_what_is_missing(
    finished: Path, coco_folder: CocoFolder, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "manifest.json").unlink()
    (folder / "shard-000001.tar").write_bytes(b"cut short")
    (folder / "shard-000002.json").unlink()
    (folder / "shard-000003.tar.99.part").write_bytes(b"left by a killed worker")
    kept = (folder / "shard-000000.tar").stat().st_mtime_ns
    assert run(coco_folder.config(folder))["complete"]
    assert (folder / "shard-000000.tar").stat().st_mtime_ns == kept
    assert not list(folder.glob("*.part"))
    assert contents(folder) == contents(finished)


def test_damage_of_the_same_size_is_found_when_asked_for(
    finished: Path, coco_folder: CocoFolder, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    path = folder / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    data[2000] ^= 255
    path.write_bytes(data)
    with pytest.raises(ShardError, match="digest differs"):
        LiftedDataset(folder, verify=True)
    assert run(coco_folder.config(folder), verify=True)["complete"]
    assert contents(folder) == contents(finished)


def test_a_folder_of_another_configuration_is_refused(finished: Path, coco_folder: CocoFolder, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    config = coco_folder.config(folder)
    with pytest.raises(ShardError, match="another configuration"):
        run(replace(config, seed=7))


def test_a_killed_worker_costs_no_shard_and_doubles_none(
    finished: Path, coco_folder: CocoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import multiprocessing

    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            children = [p for p in multiprocessing.active_children() if p.pid]
            if children and list(tmp_path.glob("shard-*.json")):
                os.kill(children[0].pid, signal.SIGKILL)
                killed.append(children[0].pid)
            time.sleep(0.002)

    thread = threading.Thread(target=kill_one)
    thread.start()
    result = run(coco_folder.config(tmp_path), workers=2)
    killed.append(0)
    thread.join()
    assert killed[0] != 0, "no worker was killed in time"
    assert result["complete"]
    assert result["shards"] == 4
    assert contents(tmp_path) == contents(finished)


def test_a_full_disk_stops_the_run_and_leaves_nothing_half_written(
    finished: Path, coco_folder: CocoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file, done = os.replace, []

    def full_after_one_shard(source: Path, target: Path) -> None:
        if str(target).endswith(".tar"):
            if done:
                raise OSError(errno.ENOSPC, "No space left on device")
            done.append(target)
        replace_file(source, target)

    monkeypatch.setattr(shards.os, "replace", full_after_one_shard)
    result = run(coco_folder.config(tmp_path))
    assert not result["complete"]
    assert result["shards_missing"] == 3
    assert "No space left" in result["failures"][0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plan.parquet", "shard-000000.json", "shard-000000.tar"]
    monkeypatch.undo()
    assert run(coco_folder.config(tmp_path))["complete"]
    assert contents(tmp_path) == contents(finished)


def test_a_full_disk_at_the_very_end_costs_the_index_alone(
    finished: Path, coco_folder: CocoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file = os.replace

    def full_for_the_index(source: Path, target: Path) -> None:
        if str(target).endswith("index.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(shards.os, "replace", full_for_the_index)
    result = run(coco_folder.config(tmp_path))
    assert (result["complete"], result["shards"], result["shards_missing"]) == (False, 4, 0)
    assert "No space left" in result["failures"][0]
    assert not list(tmp_path.glob("*.part"))
    monkeypatch.undo()
    assert run(coco_folder.config(tmp_path))["complete"]
    assert contents(tmp_path) == contents(finished)


def test_an_error_that_nobody_foresaw_costs_one_image(
    coco_folder: CocoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.lift import stages

    observe = stages.observe

    def stumble(record: Record, config: LiftConfig) -> Observation:
        if record.key == "coco_3":
            raise RuntimeError("a library gave up")
        return observe(record, config)

    monkeypatch.setattr(stages, "observe", stumble)
    result = run(coco_folder.config(tmp_path))
    assert (result["complete"], result["samples"], result["problems"]) == (True, 7, {"failed": 1})
    assert "coco_3: RuntimeError: a library gave up" in (tmp_path / "report.html").read_text()


def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header(coco_folder: CocoFolder, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(coco_folder.root, root)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    whole = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (root / "images" / "000002.jpg").write_bytes(b"\x89PNG\r\n\x1a\n" + whole + b"\0\0\0\0IDAT")
    result = run(CocoFolder(root, []).config(tmp_path / "out"))
    assert result["problems"] == {"image_corrupt": 1}
    assert "000002.jpg" in (tmp_path / "out" / "report.html").read_text()


def test_networks_that_run_out_of_memory_cost_one_shard_and_the_run_goes_on(
    coco_folder: CocoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.lift.models.perception import Perception

    called: list[int] = []
    complete = Perception.__call__

    def out_of_memory_once(self: Perception, seen: list[Observation]) -> list[Observation | ImageProblem]:
        called.append(len(seen))
        if len(called) == 2:
            raise RuntimeError("CUDA out of memory")
        return complete(self, seen)

    monkeypatch.setattr(Perception, "__call__", out_of_memory_once)
    result = run(coco_folder.config(tmp_path))
    assert (result["complete"], result["shards"], result["shards_missing"]) == (False, 3, 1)
    assert result["failures"] == ["RuntimeError: CUDA out of memory"]
    assert run(coco_folder.config(tmp_path))["complete"]


def test_networks_that_cannot_be_loaded_are_named_by_every_process(coco_folder: CocoFolder, tmp_path: Path) -> None:
    config = replace(coco_folder.config(tmp_path / "out"), models=ModelsConfig(segmenter=str(tmp_path / "none")))
    for workers in (1, 2):
        with pytest.raises(CheckpointError, match=r"none: no config\.json"):
            run(config, workers=workers)


def test_a_data_set_of_which_nothing_can_be_used_ends_with_its_report(coco_folder: CocoFolder, tmp_path: Path) -> None:
    source = replace(coco_folder.config(tmp_path).source, images=str(tmp_path / "nowhere"))
    result = run(replace(coco_folder.config(tmp_path / "out"), source=source))
    assert (result["complete"], result["samples"], result["problems"]) == (True, 0, {"image_missing": 8})
    assert len(LiftedDataset(tmp_path / "out", verify=True)) == 0
    assert "image_missing" in (tmp_path / "out" / "report.html").read_text()


def test_bad_images_and_annotations_are_counted_and_cost_only_themselves(
    coco_folder: CocoFolder, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(coco_folder.root, root)
    images, depth = root / "images", root / "depth"
    (images / "000000.jpg").unlink()
    (images / "000001.jpg").write_bytes(b"\xff\xd8\xff no picture")
    cv2.imwrite(str(images / "000002.jpg"), np.zeros((100, 100, 3), np.uint8))
    png = (depth / "000003.png").read_bytes()
    (depth / "000003.png").write_bytes(png[: len(png) // 2])
    raw = cv2.imread(str(depth / "000004.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(depth / "000004.png"), raw * 5)  # TUM's 5000 a metre
    cv2.imwrite(str(depth / "000005.png"), np.zeros_like(raw))
    data = json.loads((root / "instances.json").read_text())
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] != 6]
    mine = [a for a in data["annotations"] if a["image_id"] == 7]
    mine[0]["iscrowd"] = 1
    mine[1]["bbox"] = [1000, 1000, 50, 50]
    mine[2]["category_id"] = 99
    mine[3]["segmentation"] = {"size": [240, 320], "counts": [240 * 320]}
    data["annotations"].append({**mine[4], "bbox": "none", "id": 998})
    data["annotations"].append(dict(mine[4]))
    data["images"].append({"id": 7, "file_name": "000007.jpg", "width": 320, "height": 240})
    data["images"].append({"file_name": "no id"})
    (root / "instances.json").write_text(json.dumps(data))
    result = run(CocoFolder(root, []).config(tmp_path / "out"))
    assert result["complete"]
    assert result["samples"] == 1
    assert result["problems"] == {
        "annotation_damaged": 2,
        "depth_corrupt": 2,
        "depth_unit": 1,
        "duplicate_annotation": 1,
        "duplicate_id": 1,
        "image_corrupt": 1,
        "image_missing": 1,
        "no_annotations": 1,
        "size_mismatch": 1,
        "unknown_category": 1,
    }
    assert {k: result["rejected"].get(k) for k in ("crowd", "box_outside", "no_mask")} == {
        "crowd": 1,
        "box_outside": 1,
        "no_mask": 1,
    }
    page = (tmp_path / "out" / "report.html").read_text()
    assert "5000 values per metre" in page
    assert page.count("data:image/jpeg;base64") == 1


def test_questions_never_call_a_class_absent_that_was_only_rejected() -> None:
    from n3d_core.geometry import Box3D, Camera
    from n3d_core.geometry.frame_folder import TrueObject
    from training.lift.questions import ask

    dog = TrueObject(Box3D("dog", (0.0, 0.0, 2.0), (0.5, 0.5, 0.8)), "dog", "", 1.0)
    camera = Camera.from_fov(60, 320, 240)
    texts = set()
    for seed in range(60):
        queries, _ = ask([dog], [["the black dog"]], ["cat", "dog"], camera, 6, 0, seed)
        texts |= {q["text"] for q in queries if not q["objects"]}
        assert not [q for q in queries if q["kind"] == "class" and "dog" in q["text"]]
    assert len(texts) > 10
    assert "cat" not in texts


def test_objects_without_a_colour_are_asked_for_in_clean_words() -> None:
    from n3d_core.geometry import Box3D, Camera
    from n3d_core.geometry.frame_folder import TrueObject
    from training.lift.questions import ask

    names = ("person", "chair", "cup", "dog")
    objects = [
        TrueObject(Box3D(n, (i - 1.5, 0.3 * i, 2.0 + i), (0.2, 0.3 + i, 0.4)), n, "", 1.0) for i, n in enumerate(names)
    ]
    for seed in range(60):
        queries, questions = ask(objects, [[] for _ in names], [], Camera.from_fov(80, 640, 480), 6, 6, seed)
        assert len(queries) == len(questions) == 6
        for entry in [*queries, *questions]:
            assert entry["text"] == " ".join(entry["text"].split())


def test_sources_and_configurations_that_cannot_work_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("source: {kind: coco, images: x, typo: 1}\noutput: {folder: y}\n")
    with pytest.raises(ConfigError, match="unknown key 'typo'"):
        LiftConfig.from_yaml(path)
    path.write_text("source: {kind: laser, images: x}\noutput: {folder: y}\n")
    with pytest.raises(ConfigError, match="kind 'laser' is unknown"):
        LiftConfig.from_yaml(path)
    with pytest.raises(ConfigError, match=r"models\.detector is not"):
        ModelsConfig(detect_below=3)
    with pytest.raises(ConfigError, match=r"models\.batch must be at least 1; got 0"):
        ModelsConfig(batch=0)
    with pytest.raises(ConfigError, match=r"source\.fov is 190"):
        SourceConfig("coco", "x", fov=190.0)
    with pytest.raises(ConfigError, match="voxels_across=0"):
        CleanConfig(voxels_across=0)
    path.write_text(
        f"source: {{kind: coco, images: x, annotations: {tmp_path}/none.json}}\noutput: {{folder: {tmp_path}/o}}\n"
    )
    assert main([str(path)]) == 2
    assert "annotation file not found" in capsys.readouterr().err
    assert main([str(path), "--gpus", "2"]) == 2
    assert "--gpus is for --ray" in capsys.readouterr().err
    (tmp_path / "none.json").write_text("{broken")
    with pytest.raises(SourceError, match="cannot be read as a COCO instances file"):
        run(LiftConfig.from_yaml(path))


def test_large_images_are_scaled_with_their_masks_boxes_and_camera(coco_folder: CocoFolder, tmp_path: Path) -> None:
    small = run(coco_folder.config(tmp_path / "small", max_side=160))
    assert small["complete"]
    whole = LiftedDataset(tmp_path / "small")
    full = coco_folder.config(tmp_path / "full")
    assert run(full)["complete"]
    for a, b in zip(whole, LiftedDataset(tmp_path / "full"), strict=True):
        assert a.color().shape == (120, 160, 3)
        assert a.camera == b.camera.resized(160, 120)
        by_id = {o["annotation"]: o for o in b.meta["objects"]}
        for o in a.meta["objects"]:
            if o["annotation"] in by_id:
                np.testing.assert_allclose(
                    o["visible"]["center"], by_id[o["annotation"]]["visible"]["center"], atol=0.06
                )


def test_a_package_that_is_not_installed_is_named_with_its_extra(tmp_path: Path) -> None:
    hide = (
        "import importlib.util, sys; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'pyarrow' else find(name, *more)\n"
        "import training.lift\n"
    )
    ran = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, cwd=ROOT)
    assert "MissingDependencyError: training.lift needs pyarrow: pip install -e '.[lift]'" in ran.stderr
