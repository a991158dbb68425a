"""Tours: true poses, true objects, and what happens to them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from n3d_core.errors import ImageError
from n3d_core.geometry.boxes import OrientedBox, quaternion_of
from n3d_core.geometry.frame_folder import FrameFolder, MapObject
from training.scenes import SceneConfig
from training.scenes.__main__ import main
from training.scenes.parts import about
from training.scenes.tour import Tour

pytest.importorskip("mujoco", reason="scenes are rendered by MuJoCo")
SMALL = SceneConfig(width=128, height=96, objects=(8, 12), fov=(60.0, 60.0), noise=False)


def box_of(one: MapObject) -> OrientedBox:
    return OrientedBox(
        one.label, one.center, one.size, quaternion=quaternion_of(about("z", float(np.degrees(one.yaw))))
    )


def test_what_a_frame_shows_of_an_object_lies_in_its_box_in_the_map_at_that_time() -> None:
    tour = Tour.sample(3, SMALL, 8)
    boxes = [(one, box_of(one)) for one in tour.objects()]
    checked = 0
    for scene, pose in zip(tour.render(), tour.poses(), strict=True):
        points = scene.frame.camera.back_project(scene.clean_depth)
        matrix, now = pose.camera_to_map, pose.stamp_ns / 1e9
        for index, item in enumerate(scene.truth.objects):
            own = points[scene.instances == index + 1] @ matrix[:3, :3].T + matrix[:3, 3]
            standing = [box for one, box in boxes if one.label == item.box.label and one.since <= now <= one.until]
            assert any(box.contains(own, 0.003).all() for box in standing), item.box.label
            checked += 1
    assert checked > 15


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_two_objects_are_moved_and_two_taken_away_and_the_others_stay(seed: int) -> None:
    tour = Tour.sample(seed, SMALL, 60)
    places = defaultdict(list)
    for one in tour.objects():
        places[one.id].append(one)
    moved = [both for both in places.values() if len(both) == 2]
    gone = [one for (*_, one) in places.values() if one.until < 60.0]
    assert (len(places), len(moved), len(gone)) == (len(tour.layout.objects), 2, 2)
    for before, after in moved:
        assert before.label == after.label
        assert before.size == after.size
        assert after.since == before.until + 1
        assert np.linalg.norm(np.subtract(before.center, after.center)) > 1.0
    for one in [place for both in places.values() for place in both]:
        assert one.center[2] - one.size[2] / 2 == pytest.approx(0.0, abs=1e-3)  # it stands on the floor


def test_the_camera_stays_inside_the_room_clear_of_the_objects_and_sees_only_a_part_at_a_time() -> None:
    for seed in range(6):
        tour = Tour.sample(seed, SMALL, 40)
        boxes = [box_of(one) for one in tour.objects()]
        shares = []
        for view in tour.views:
            assert (np.abs(view.position[:2]) < tour.layout.half).all()
            assert not any(box.contains(view.position, 0.1) for box in boxes)
            ahead = [view.to_optical(np.asarray(box.center)) for box in boxes]
            pixels = [view.camera.project(p) for p in ahead if p[2] > 0]
            inside = [0 <= u < SMALL.width and 0 <= v < SMALL.height for u, v in pixels]
            shares.append(sum(inside) / len(boxes))
        assert 0.1 < np.mean(shares) < 0.8


def test_poses_are_off_by_as_much_as_asked() -> None:
    tour = Tour.sample(5, SMALL, 400)
    true, noisy = tour.poses(), tour.poses(0.02, np.radians(1.0))
    again = tour.poses(0.02, np.radians(1.0))
    shifts = [np.linalg.norm(a.camera_to_map[:3, 3] - b.camera_to_map[:3, 3]) for a, b in zip(true, noisy, strict=True)]
    turns = [a.camera_to_map[:3, :3].T @ b.camera_to_map[:3, :3] for a, b in zip(true, noisy, strict=True)]
    angles = [np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)) for turn in turns]
    assert np.sqrt(np.mean(np.square(shifts))) == pytest.approx(0.02, rel=0.1)
    assert np.degrees(np.sqrt(np.mean(np.square(angles)))) == pytest.approx(1.0, rel=0.1)
    assert all(np.array_equal(a.camera_to_map, b.camera_to_map) for a, b in zip(noisy, again, strict=True))


def test_the_command_writes_a_tour_that_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--tour", "--seed", "3", "--count", "5", "--size", "128x96", "--fov", "60"]
    for name, more in (("plain", ["--clean"]), ("small", ["--compact"])):
        assert main([*options, *more, "--output", str(tmp_path / name)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[0])
    folder, small = FrameFolder(tmp_path / "plain"), FrameFolder(tmp_path / "small")
    assert (report["frames"], len(folder), len(small)) == (5, 5, 5)
    assert len({one.id for one in folder.map_objects()}) == report["objects"]
    assert folder.map_objects() == small.map_objects()
    for number in range(5):
        pose, frame, packed = folder.pose(number), folder.frame(number), small.frame(number)
        assert pose is not None
        assert pose.stamp_ns == frame.stamp_ns == (number + 1) * 10**9
        assert np.nanmedian(np.abs(packed.depth - frame.depth) / frame.depth) < 0.01
    sizes = [sum(path.stat().st_size for path in (tmp_path / name).iterdir()) for name in ("plain", "small")]
    assert sizes[1] < 0.5 * sizes[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{}", "cannot be read as the truth of a map"),
        ('{"objects": [{"label": "mug", "center": [0, 0], "size": [1, 1, 1]}]}', "center is"),
        ('{"objects": [{"label": "mug", "center": [0, 0, 0], "size": [1, 1, 1], "yaw": 0, "from": 1}]}', "to is null"),
        ("[" * 100_000, "cannot be read as the truth of a map"),
    ],
)
def test_a_malformed_truth_of_a_map_is_named(tmp_path: Path, text: str, wanted: str) -> None:
    assert main(["--tour", "--seed", "3", "--count", "1", "--size", "64x48", "--output", str(tmp_path)]) == 0
    (tmp_path / "map.truth.json").write_text(text)
    with pytest.raises(ImageError, match=wanted):
        FrameFolder(tmp_path).map_objects()
