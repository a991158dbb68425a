"""A viewer that comes late gets what is shown now; one that stays gets every change."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from n3d_core.errors import MissingDependencyError
from n3d_core.geometry import Box3D, Camera, Frame
from n3d_core.geometry.boxes import OrientedBox

pytest.importorskip("rerun")

from n3d_ros.page.scene import FILES, LiveScene, fetch_viewer

TURNED = OrientedBox("blue box", (0.0, 0.1, 2.0), (0.4, 0.4, 0.4), quaternion=(0.0, 0.6, 0.0, 0.8))


def frame(depth: float) -> Frame:
    camera = Camera.from_fov(60.0, 64, 48)
    return Frame(np.full((48, 64, 3), 120, np.uint8), np.full((48, 64), depth, np.float32), camera)


def logged(stream: bytes, path: Path) -> dict[str, list[Any]]:
    """What a viewer of this stream holds at its end, by component."""
    from rerun.recording import load_recording

    path.write_bytes(stream)
    found: dict[str, list[Any]] = {}
    for chunk in load_recording(path).chunks():
        batch = chunk.to_record_batch()
        for name in batch.schema.names:
            found.setdefault(f"{chunk.entity_path} {name}", []).extend(batch.column(name).to_pylist())
    return found


def test_each_viewer_gets_what_is_shown_and_then_what_changes(tmp_path: Path) -> None:
    scene = LiveScene()
    scene.show_frame(frame(1.0))
    scene.show_boxes([Box3D("red mug", (0.1, 0.05, 1.0), (0.2, 0.3, 0.25)), TURNED])
    early = scene.stream(lambda: False)
    first = next(early)
    seen = logged(first, tmp_path / "a.rrd")
    (cloud,) = seen["/cloud Points3D:positions"]
    np.testing.assert_allclose(np.array(cloud)[:, 2], 1.0)
    assert len(cloud) == 48 * 64
    (quaternions,) = seen["/boxes Boxes3D:quaternions"]
    np.testing.assert_allclose(quaternions, [(0, 0, 0, 1), TURNED.quaternion])

    scene.show_boxes([])
    second = next(early)
    assert len(second) < len(first) / 2, "the image was sent again"
    scene.show_frame(frame(3.0))
    changed = logged(first + second + next(early), tmp_path / "b.rrd")
    assert changed["/boxes Boxes3D:centers"] == [[]]  # what is new takes the place of what was
    assert [cloud[0][2] for cloud in changed["/cloud Points3D:positions"]] == [3.0]

    late = logged(next(scene.stream(lambda: False)), tmp_path / "c.rrd")
    assert [cloud[0][2] for cloud in late["/cloud Points3D:positions"]] == [3.0]
    assert late["/boxes Boxes3D:centers"] == [[]]


def test_a_stream_ends_when_its_viewer_is_gone() -> None:
    scene = LiveScene()
    answers = iter([False, False, True])
    assert len(list(scene.stream(lambda: next(answers)))) <= 2


def test_viewers_that_come_and_go_leave_no_threads_behind() -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    scene = LiveScene()
    scene.show_frame(frame(1.0))
    kept = scene.stream(lambda: False)
    next(kept)
    before = threads()
    for closed in (True, False, True, False, True, False):
        answers = iter([False, not closed])
        stream = scene.stream(lambda answers=answers: next(answers))
        assert next(stream)
        if closed:
            stream.close()
        else:
            assert not list(stream)
        del stream
    end = time.monotonic() + 10.0
    while threads() > before and time.monotonic() < end:
        time.sleep(0.05)
    assert threads() <= before
    scene.show_frame(frame(2.0))
    assert next(kept)  # the one that stayed goes on


def test_a_large_image_is_thinned(tmp_path: Path) -> None:
    scene = LiveScene()
    depth = np.full((480, 640), 2.0, np.float32)
    scene.show_frame(Frame(np.zeros((480, 640, 3), np.uint8), depth, Camera.from_fov(60.0, 640, 480)))
    (cloud,) = logged(next(scene.stream(lambda: False)), tmp_path / "a.rrd")["/cloud Points3D:positions"]
    assert 10_000 < len(cloud) <= 20_000


@pytest.mark.slow
def test_the_viewer_comes_out_of_the_wheel_and_leaves_no_program_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # is not asked
    files = fetch_viewer()
    assert set(files) == set(FILES)
    assert files["re_viewer_bg.wasm"].data[:4] == b"\0asm"
    assert files["re_viewer_bg.wasm"].headers["Content-Type"] == "application/wasm"
    assert b"re_viewer" in files["index.html"].data


def test_a_viewer_that_nobody_wants_any_more_is_not_waited_for() -> None:
    with pytest.raises(MissingDependencyError, match="did not start"):
        fetch_viewer(unwanted=lambda: True)


def test_a_picture_without_depth_takes_the_place_of_image_and_cloud(tmp_path: Path) -> None:
    scene = LiveScene()
    scene.show_frame(frame(1.0))
    viewer = scene.stream(lambda: False)
    first = next(viewer)
    color = np.full((24, 32, 3), 60, np.uint8)
    scene.show_frame(SimpleNamespace(color=color, camera=Camera.from_fov(60.0, 32, 24)))
    seen = logged(first + next(viewer), tmp_path / "a.rrd")
    assert seen["/cloud Points3D:positions"][-1] == []
    assert seen["/camera Pinhole:resolution"][-1] == [[32.0, 24.0]]
