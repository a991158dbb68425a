"""Real posed RGB-D frames: views that overlap double no object, and what still stands is never said to be gone.

The objects are boxes around points of measured surfaces; each view detects those whose surface its own depth shows.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.camera import Camera
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.observations import Look, Pose

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
SIGMA = 0.03


def seven_scenes():
    folder = DATA / "7scenes_posed"
    camera = Camera(640, 480, 585.0, 585.0, 320.0, 240.0)
    for path in sorted(folder.glob("*.pose.txt"))[::2]:
        yield camera, np.loadtxt(path), folder / path.name.replace(".pose.txt", ".depth.png")


def redwood():
    folder = DATA / "redwood"
    camera = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
    lines = (folder / "trajectory.log").read_text().splitlines()
    for number, path in enumerate(sorted((folder / "depth").glob("*.png"))):
        matrix = np.array([line.split() for line in lines[5 * number + 1 : 5 * number + 5]], float)
        yield camera, matrix, path


def depth_of(path):
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000
    depth[(depth <= 0) | (depth > 8)] = np.nan
    return depth


@pytest.mark.parametrize("frames", [seven_scenes, redwood])
def test_overlapping_views_double_nothing_and_lose_nothing(frames, tmp_path):
    views = list(frames()) if DATA.is_dir() else []
    if not views:
        pytest.skip(f"no real frames in {DATA}")
    rng, memory, anchors = np.random.default_rng(0), ObjectMap(tmp_path / "m.db"), list[np.ndarray]()
    found, ids = dict[int, int](), dict[int, set[int]]()
    for stamp, (camera, matrix, path) in enumerate(views):
        depth, pose = depth_of(path), Pose.of_matrix(matrix, 0.01, 0.005)
        for u, v in rng.uniform((60, 60), (580, 420), (20, 2)).astype(int).tolist():
            point = camera.back_project(depth)[v, u]
            place = pose.rotation @ point + pose.translation
            patch = depth[v - 8 : v + 9, u - 8 : u + 9]
            plain = np.isfinite(patch).all() and np.ptp(patch) < 0.1 and point[2] < 3
            if plain and all(np.linalg.norm(place - other) > 0.6 for other in anchors):
                anchors.append(place)
        seen = []
        for number, place in enumerate(anchors):
            own = (place - pose.translation) @ pose.rotation
            u, v = camera.project(own[None])[0] if own[2] > 0.3 else (-1.0, -1.0)
            inside = 5 < u < 634 and 5 < v < 474
            if inside and abs(depth[round(v), round(u)] - own[2]) < 0.06 and rng.random() < 0.85:
                noisy = own + rng.normal(0, SIGMA, 3)
                covariance = tuple((np.eye(3) * SIGMA**2).ravel())
                seen.append((number, OrientedBox("thing", tuple(noisy), (0.25, 0.25, 0.25), 0.9, covariance)))
        result = memory.look(Look(float(stamp), pose, camera, [one for _, one in seen], depth=depth))
        for (number, _), identity in zip(seen, result.seen, strict=True):
            found[number] = found.get(number, 0) + 1
            ids.setdefault(number, set()).add(identity)
    objects = memory.recall(limit=1000)
    memory.close()
    assert len(found) > 3
    assert len(objects) == len(found)
    assert all(len(one) == 1 for one in ids.values())
    assert not [one for one in objects if one.state == "gone"]
    assert np.mean([one.state == "present" for one in objects]) > 0.9
