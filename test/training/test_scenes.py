"""Scenes: reproducible to the pixel, with true boxes that agree with the rendered depth."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from n3d_core.errors import ConfigError, MissingDependencyError
from n3d_core.geometry.frame_folder import FrameFolder
from training.scenes import (
    CLASSES,
    COLORS,
    DEMO_SEEDS,
    TEST_SEEDS,
    TRAIN_SEEDS,
    SceneConfig,
    check_seeds,
    is_groundable,
    parse_seeds,
    render,
    render_views,
)
from training.scenes.__main__ import main as scenes_main
from training.scenes.cache import CacheError, SceneCache
from training.scenes.cache import main as cache_main
from training.scenes.catalogue import CATALOGUE
from training.scenes.layout import sample_layout
from training.scenes.renderer import choose_backend
from training.scenes.viewpoint import camera_of
from training.scenes.vocabulary import Vocabulary

pytest.importorskip("mujoco", reason="scenes are rendered by MuJoCo")
SMALL = SceneConfig(width=128, height=96, objects=(3, 10))


def test_a_seed_gives_the_same_pixels_and_another_seed_others() -> None:
    a, b, c = render(7, SMALL), render(7, SMALL), render(8, SMALL)
    assert np.array_equal(a.frame.color, b.frame.color)
    assert np.array_equal(a.frame.depth, b.frame.depth, equal_nan=True)
    assert a.truth == b.truth
    assert not np.array_equal(a.frame.color, c.frame.color)


def test_a_view_does_not_depend_on_how_many_are_rendered() -> None:
    one, three = render_views(11, SMALL, 1), render_views(11, SMALL, 3)
    assert np.array_equal(one[0].frame.color, three[0].frame.color)
    assert not np.array_equal(three[0].frame.color, three[1].frame.color)


def test_every_visible_point_of_an_object_lies_in_its_box_and_touches_its_sides() -> None:
    checked = 0
    for seed in range(40, 52):
        scene = render(seed, SMALL)
        points = scene.frame.camera.back_project(scene.clean_depth)
        for index, item in enumerate(scene.truth.objects):
            own = points[scene.instances == index + 1]
            assert (own >= item.box.low - 2e-3).all(), item.box.label
            assert (own <= item.box.high + 2e-3).all(), item.box.label
            if item.visible > 0.99 and len(own) > 80:
                pixel = own[:, 2].max() / scene.frame.camera.fx
                slack = (own.min(axis=0) - item.box.low)[:2], (item.box.high - own.max(axis=0))[:2]
                assert np.max(slack) < 3 * pixel, item.box.label
                checked += 1
    assert checked > 10


def test_objects_rest_on_their_support_and_do_not_intersect() -> None:
    for seed in range(20):
        layout = sample_layout(np.random.default_rng(seed), SMALL)
        boxes = []
        for item in layout.objects:
            low, high = item.extent(np.eye(3))
            assert low[2] == pytest.approx(layout.support, abs=1e-9)
            boxes.append((low, high))
        assert len(boxes) >= 1


def test_every_class_can_be_built_stands_on_its_base_and_has_household_size() -> None:
    rng = np.random.default_rng(0)
    for kind in CATALOGUE.values():
        for place, build in kind.builders.items():
            extents = np.array([part.extent(np.eye(3)) for part in build(rng)])
            low, high = extents[:, 0].min(axis=0), extents[:, 1].max(axis=0)
            assert low[2] == pytest.approx(0, abs=0.02), kind.name
            assert 0.03 < (high - low).max() < (0.7 if place == "table" else 1.7), kind.name
    assert len(CLASSES) >= 25
    assert len(COLORS) == 10


def test_the_standard_suite_is_as_crowded_and_occluded_as_stated() -> None:
    scenes = [render(seed, SceneConfig.standard(128, 96)) for seed in range(1_000_000, 1_000_040)]
    visible = np.array([o.visible for s in scenes for o in s.truth.objects])
    assert len(visible) / len(scenes) >= 5.0
    assert (visible < 0.95).mean() >= 0.28  # 30 % over many scenes
    assert all(0 < v <= 1 for v in visible)


def test_half_hidden_is_half_visible() -> None:
    """An object cut by the image's border is visible by the share that lies inside."""
    scene = next(
        s
        for s in (render(seed, SMALL) for seed in range(60, 120))
        if any(0.3 < o.visible < 0.7 and not is_groundable(o, s.frame.camera) for o in s.truth.objects)
    )
    cut = next(o for o in scene.truth.objects if o.visible < 0.7 and not is_groundable(o, scene.frame.camera))
    u, v = scene.frame.camera.project(np.array(cut.box.center))
    assert not (0 <= u < 128 and 0 <= v < 96)


def test_sensor_noise_loses_pixels_and_leaves_the_rest_close() -> None:
    scene = render(5, SceneConfig(objects=(3, 10)))
    valid = scene.frame.valid
    assert 0.5 < valid.mean() < 0.9999
    near = valid & (scene.clean_depth < 2)
    assert np.median(np.abs(scene.frame.depth - scene.clean_depth)[near]) < 0.01


def test_seed_ranges_are_apart_and_checked() -> None:
    assert TRAIN_SEEDS.stop <= TEST_SEEDS.start
    assert TEST_SEEDS.stop <= DEMO_SEEDS.start
    with pytest.raises(ConfigError, match="not for training"):
        check_seeds(range(899_999, 900_001), TRAIN_SEEDS, "training")
    with pytest.raises(ConfigError, match="FIRST:STOP"):
        parse_seeds("12")


def test_unknown_config_keys_and_values_out_of_range_are_errors() -> None:
    with pytest.raises(ConfigError, match="unknown keys"):
        SceneConfig.from_mapping({"widht": 3})
    with pytest.raises(ConfigError, match="objects"):
        SceneConfig(objects=(4, 2))
    assert SceneConfig.from_mapping(SMALL.to_mapping()) == SMALL


def test_the_command_writes_a_frame_folder_that_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scenes_main(["--seed", "2000000", "--count", "2", "--size", "128x96", "--output", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    folder = FrameFolder(tmp_path)
    assert report["frames"] == len(folder) == 2
    truth = folder.truth(1)
    assert truth is not None
    assert {o.cls for o in truth.objects} <= set(CLASSES)
    assert scenes_main(["--seed", "1", "--count", "1", "--size", "64x48", "--output", str(tmp_path)]) == 2


def test_the_command_with_two_processes_writes_the_same_files_as_with_one(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        command = [sys.executable, "-m", "training.scenes", "--seed", "31", "--count", "2", "--size", "160x120"]
        subprocess.run([*command, "--output", tmp_path / workers, "--workers", workers], check=True, timeout=300)
    one, two = (sorted((tmp_path / workers).iterdir()) for workers in ("1", "2"))
    assert [path.name for path in one] == [path.name for path in two]
    assert len(one) == 7  # the camera, and colour, depth and truth of each
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_portrait_camera_sees_along_its_longer_side_what_a_landscape_one_does(tmp_path: Path) -> None:
    upright, lying = camera_of(70.0, 90, 160), camera_of(70.0, 160, 90)
    assert (upright.fx, upright.fy) == pytest.approx((lying.fx, lying.fy))
    assert (upright.cx, upright.cy) == pytest.approx((lying.cy, lying.cx))
    arguments = ["--seed", "1000000", "--count", "1", "--output", str(tmp_path), "--size", "90x160", "--fov", "70"]
    assert scenes_main(arguments) == 0
    assert scenes_main(arguments) == 0  # the folder is known to be of this camera
    assert FrameFolder(tmp_path).frame(0).camera == upright


def test_a_cache_is_rendered_with_the_cameras_asked_for(tmp_path: Path) -> None:
    arguments = ["--seeds", "0:2", "--views", "1", "--size", "48x64", "--fov", "80:80", "--objects", "4:6"]
    assert cache_main([*arguments, "--distance", "1.2:1.3", "--output", str(tmp_path)]) == 0
    assert SceneCache(tmp_path)[0].camera == camera_of(80.0, 48, 64)
    assert cache_main([*arguments, "--output", str(tmp_path)]) == 2  # another distance
    assert cache_main(["--fov", "60", "--output", str(tmp_path / "other")]) == 2


def test_a_cache_holds_what_was_rendered_resumes_and_reports_damage(tmp_path: Path) -> None:
    command = ["--seeds", "3:5", "--size", "128x96", "--output", str(tmp_path)]
    assert cache_main(command) == 0
    shard = next(tmp_path.glob("*.safetensors"))
    written = shard.stat().st_mtime_ns
    assert cache_main(command) == 0
    assert shard.stat().st_mtime_ns == written
    cache, scene = SceneCache(tmp_path, verify=True), render_views(4, SceneConfig(width=128, height=96), 2)[1]
    kept = cache[3]
    assert (kept.seed, kept.view, len(cache)) == (4, 1, 4)
    assert np.array_equal(kept.color, scene.frame.color)
    assert np.array_equal(kept.instances, scene.instances)
    assert [CLASSES[i] for i in kept.class_ids] == [o.cls for o in scene.truth.objects]
    np.testing.assert_allclose(kept.centers, [o.box.center for o in scene.truth.objects], atol=1e-6)
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CacheError, match="cut short"):
        SceneCache(tmp_path)


def test_scenes_are_made_of_what_a_model_is_taught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Vocabulary(("mug", "chair"), ("red", "blue")).write(tmp_path)
    taught = Vocabulary.of_model(tmp_path)
    config = SMALL.made_of(taught)
    objects = [o for seed in range(12) for o in sample_layout(np.random.default_rng(seed), config).objects]
    assert {o.cls for o in objects} == {"mug", "chair"}
    assert {o.color for o in objects} == {"red", "blue"}
    assert SceneConfig.from_mapping(config.to_mapping()) == config
    command = ["--seeds", "3:4", "--size", "64x48", "--model", str(tmp_path), "--output", str(tmp_path / "cache")]
    assert cache_main(command) == 0
    cache = SceneCache(tmp_path / "cache")
    assert {CLASSES[c] for i in range(len(cache)) for c in cache[i].class_ids} <= {"mug", "chair"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ("mug", "spoon")}, "spoon"),
        ({"colors": ("red", "red")}, "different names"),
        ({"classes": ("mug",)}, "found on a floor"),
    ],
)
def test_names_that_no_scene_can_be_made_of_are_errors(changed: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changed)  # type: ignore[arg-type]


def test_a_vocabulary_that_is_no_vocabulary_is_named(tmp_path: Path) -> None:
    assert Vocabulary.of_model(tmp_path) == Vocabulary()
    (tmp_path / "vocabulary.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"vocabulary\.json"):
        Vocabulary.of_model(tmp_path)


def test_without_any_opengl_library_the_error_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"libegl1 libegl-mesa0 libgl1-mesa-dri.*libosmesa6"):
        choose_backend.__wrapped__()


def test_a_cache_says_first_what_it_takes_and_is_refused_where_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--seeds", "0:200000", "--size", "640x480", "--output", str(tmp_path / "cache")]
    free = shutil.disk_usage(tmp_path)._replace(free=int(50e9))
    monkeypatch.setattr("training.scenes.cache.shutil.disk_usage", lambda _: free)
    assert cache_main([*asked, "--yes"]) == 2
    said = capsys.readouterr().err
    assert "400000 frames of 640x480 take about 737.3 GB" in said
    assert "has 50.0 GB free: ask for fewer --seeds" in said
    free = free._replace(free=int(900e9))
    assert cache_main(asked) == 2
    assert "take about 737.3 GB, and" in (said := capsys.readouterr().err)
    assert "900.0 GB free: add --yes to write them" in said
    assert not (tmp_path / "cache").exists()
