"""A recording holds the frame's points, the boxes and the text, at the entities that its docstring names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n3d_core.display.rerun import write_recording
from n3d_core.errors import ImageError
from n3d_core.geometry import Box3D, Camera, Frame

pytest.importorskip("rerun")

BOX = Box3D("red mug", (0.1, 0.05, 1.0), (0.2, 0.3, 0.25), score=0.87)


def frame() -> Frame:
    depth = np.full((48, 64), 1.0, np.float32)
    depth[:10] = np.nan
    return Frame(np.full((48, 64, 3), 120, np.uint8), depth, Camera.from_fov(60.0, 64, 48))


def contents(path: Path) -> dict[str, dict[str, Any]]:
    """Fields of each entity of a recording."""
    from rerun.recording import load_recording

    found: dict[str, dict[str, Any]] = {}
    for chunk in load_recording(path).chunks():
        batch = chunk.to_record_batch()
        fields = {name: batch.column(name).to_pylist()[0] for name in batch.schema.names}
        found.setdefault(chunk.entity_path, {}).update(fields)
    return found


def test_a_recording_holds_camera_points_boxes_truth_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.rrd"
    seen = frame()
    write_recording(path, seen, [BOX], "answer: 0.42 m", truth=[BOX, BOX])
    assert [p.name for p in tmp_path.iterdir()] == ["a.rrd"]
    found = contents(path)
    np.testing.assert_allclose(found["/cloud"]["Points3D:positions"], seen.points[seen.valid], rtol=1e-6)
    np.testing.assert_allclose(found["/boxes"]["Boxes3D:centers"], [BOX.center], rtol=1e-6)
    np.testing.assert_allclose(2 * np.array(found["/boxes"]["Boxes3D:half_sizes"]), [BOX.size], rtol=1e-6)
    assert found["/boxes"]["Boxes3D:labels"] == ["red mug 0.87  0.20 x 0.30 x 0.25 m"]
    assert len(found["/truth"]["Boxes3D:centers"]) == 2
    assert found["/text"]["TextDocument:text"] == ["answer: 0.42 m"]
    matrix = np.reshape(found["/camera"]["Pinhole:image_from_camera"], (3, 3)).T  # stored column by column
    np.testing.assert_allclose(matrix, seen.camera.matrix, rtol=1e-6)


def test_without_boxes_there_is_still_a_scene(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.rrd", frame(), [], "")
    found = contents(tmp_path / "a.rrd")
    assert "/boxes" not in found
    assert len(found["/cloud"]["Points3D:positions"]) == 38 * 64


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be written"):
        write_recording(tmp_path / "nowhere" / "a.rrd", frame(), [BOX], "")
