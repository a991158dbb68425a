"""A recording as an agent's scene: a frame folder, a tour, a bag, or any recording that `n3d import` reads."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from n3d_core.depth import DepthLimits
from n3d_core.display.draw import draw_boxes, enlarged
from n3d_core.errors import ConfigError
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_core.mcp_server import (
    Answered,
    KnownObject,
    Looked,
    Object,
    Picture,
    Remembered,
    Seen,
    answer_value,
    object_fields,
)
from n3d_core.memory.object_map import MOST_OBJECTS, ObjectMap
from n3d_core.memory.observations import Look, Pose
from n3d_core.memory.recollection import Viewpoint, answer_from_memory, find_remembered, where_sentence
from n3d_core.recordings.formats import Overrides, Shot, has_poses, read_recording, upright
from n3d_core.results import Answer

CATCH_UP_S = 20.0
"""How long one call may spend on adding frames to memory; clients give up after a minute."""
OPTICAL, MAP = "camera_optical_frame", "map"
_LEAST_SIDE = 640  # pixels; smaller pictures are enlarged to keep labels readable


class RecordedScene:
    """A recording, seen at one frame; a recording with poses is remembered up to that frame.

    Args:
        load: loads the model (an `N3D`), on the first use.
        frame: where to begin; None is the last frame of a recording with poses, which is then all remembered, and else
            the first.
        memory: file of the object map; None keeps it for this process only.
        timeout_s: of one query.

    Raises:
        N3DError: if the recording or the map cannot be read.
    """

    def __init__(
        self,
        path: Path,
        load: Callable[[], Any],
        frame: int | None = None,
        memory: Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.name = path.name
        self._shots, self._limits = shots_of(path)
        self._has_poses = has_poses(self._shots)
        if memory is not None and not self._has_poses:
            raise ConfigError(f"--memory needs camera poses, and {path} has none")
        self._index = self._checked((len(self._shots) - 1 if self._has_poses else 0) if frame is None else frame)
        self._load, self._timeout_s = load, timeout_s
        self._lock = threading.RLock()  # guards all that follows
        self._model: Any = None
        self._shown: tuple[int, Frame, Any] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="n3d-memory-") if memory is None else None
        self._taken = 0  # number of frames in memory
        self._map: ObjectMap | None = None
        if self._has_poses:
            self._map = ObjectMap(memory or Path(self._folder.name, "map.db"))  # type: ignore[union-attr]
            self._skip_known()

    def open(self) -> None:
        """Loads the model and encodes the frame, so that the first call does not wait for it."""
        with self._lock:
            self._view()

    def look(self, text: str, frame: int | None) -> Picture:
        """As `AgentScene.look`."""
        with self._lock:
            if frame is not None:
                self._index = self._checked(frame)
            found = self._ground(text)
            shown, _ = self._view()
            color, camera = enlarged(shown.color, shown.camera, _LEAST_SIDE)
            source = f"{self.name}, frame {self._index} of {len(self._shots)}"
            seen = Looked(**self._seen(text, found).model_dump(), width=shown.width, height=shown.height, source=source)
            return Picture(draw_boxes(color, camera, found.boxes), seen)

    def find(self, text: str) -> Seen:
        """As `AgentScene.find`."""
        with self._lock:
            return self._seen(text, self._ground(text))

    def ask(self, question: str) -> Answered:
        """As `AgentScene.ask`; what is not in view is looked for in memory."""
        with self._lock:
            frame, view = self._view()
            viewpoint, recall = self._viewpoint(), None
            if viewpoint is not None and self._map is not None:
                self._catch_up()
                recall = partial(_recalled, self._map, viewpoint)
            answer: Answer = view.ask(question, recall=recall, deadline=time.monotonic() + self._timeout_s)
        return Answered(
            question=answer.question,
            answer=answer.answer,
            verdict=answer.verdict,
            verdict_reason=answer.verdict_reason,
            value=answer_value(answer.value),
            remembered=bool(answer.remembered),
            age_s=round(answer.age, 3) if answer.remembered else None,
            said=answer.said,
            objects=[Object(**object_fields(box, (0.0, 0.0, 0.0))) for box in answer.boxes],
            frame_id=frame.frame_id or OPTICAL,
            stamp=frame.stamp_ns / 1e9,
            warnings=answer.warnings,
        )

    def recall(self, text: str, max_age_s: float) -> Remembered:
        """As `AgentScene.recall`."""
        with self._lock:
            viewpoint = self._viewpoint()
            if viewpoint is None or self._map is None:
                which = "this recording has no camera poses" if not self._has_poses else "this frame has no camera pose"
                return Remembered(objects=[], frame_id=MAP, note=f"there is no memory: {which}")
            self._catch_up()
            found = find_remembered(self._map, text, max_age=max_age_s, now=viewpoint.now)
            left = self._index + 1 - self._taken
        return Remembered(
            objects=[_remembered(one, viewpoint) for one in found],
            frame_id=viewpoint.map_frame,
            note=f"{left} frames are not in memory yet: call again for the rest" if left > 0 else "",
        )

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self._shots):
            raise ConfigError(f"frame must be one of 0..{len(self._shots) - 1}; got {index}")
        return index

    def _view(self) -> tuple[Frame, Any]:
        """The frame, and the model's view of it."""
        if self._shown is None or self._shown[0] != self._index:
            frame = self._frame(self._index)
            self._shown = (self._index, frame, self._loaded().look(frame, self._limits))
        return self._shown[1], self._shown[2]

    def _frame(self, index: int) -> Frame:
        shot = self._shots[index]
        return replace(shot.load(), stamp_ns=shot.stamp_ns)

    def _loaded(self) -> Any:
        self._model = self._model or self._load()
        return self._model

    def _ground(self, text: str) -> Any:
        return self._view()[1].ground(text, deadline=time.monotonic() + self._timeout_s)

    def _seen(self, text: str, found: Any) -> Seen:
        frame, _ = self._view()
        return Seen(
            text=text,
            objects=[Object(**object_fields(box, (0.0, 0.0, 0.0))) for box in found.boxes],
            frame_id=frame.frame_id or OPTICAL,
            stamp=frame.stamp_ns / 1e9,
            age_s=None,
            warnings=found.warnings,
        )

    def _viewpoint(self) -> Viewpoint | None:
        """Where the camera is, at the newest time that memory knows."""
        where = self._shots[self._index].camera_to_world
        if where is None:
            return None
        latest = max(self._index, self._taken - 1)
        return Viewpoint(Pose.of_matrix(where), self._shots[latest].stamp_ns / 1e9, MAP)

    def _skip_known(self) -> None:
        """Skips the frames that an earlier run has added to the map."""
        assert self._map is not None
        known = max((one.last_looked for one in self._map.recall(limit=MOST_OBJECTS)), default=-math.inf)
        while self._taken < len(self._shots) and self._shots[self._taken].stamp_ns / 1e9 <= known:
            self._taken += 1

    def _catch_up(self) -> None:
        """Adds frames up to the current one to the map, as many as `CATCH_UP_S` allows."""
        assert self._map is not None
        end = time.monotonic() + CATCH_UP_S
        while self._taken <= self._index and time.monotonic() < end:
            index, self._taken = self._taken, self._taken + 1
            where = self._shots[index].camera_to_world
            if where is None:
                continue
            frame = self._frame(index)
            found = self._loaded().look(frame, self._limits).ground("all objects")
            boxes = [OrientedBox.of(box) for box in found.boxes]
            pose, stamp = Pose.of_matrix(where), frame.stamp_ns / 1e9
            self._map.look(Look(stamp, pose, frame.camera, boxes, None, frame.depth, self.name))


def shots_of(path: Path) -> tuple[list[Shot], DepthLimits]:
    """The frames of a recording with poses in a map whose z is up, and the limits of their depth.

    Raises:
        N3DError: if it is not a recording, or cannot be read.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist: give a frame folder, a tour, a bag or another recording")
    if (path / "camera.yaml").is_file():
        folder = FrameFolder(path)
        poses = [folder.pose(i) for i in range(len(folder))]
        shots = [
            Shot(partial(folder.frame, i))
            if pose is None
            else Shot(partial(folder.frame, i), pose.stamp_ns, pose.camera_to_map)
            for i, pose in enumerate(poses)
        ]
        return shots, DepthLimits(unit_is_given=folder.unit_is_given)
    shots = read_recording(path, "", Overrides())
    turn = upright(shots) if has_poses(shots) else None
    if turn is not None:
        turned = [None if one.camera_to_world is None else turn @ one.camera_to_world for one in shots]
        shots = [replace(one, camera_to_world=pose) for one, pose in zip(shots, turned, strict=True)]
    return shots, DepthLimits()


def _recalled(memory: ObjectMap, viewpoint: Viewpoint, question: str, in_view: Any) -> Answer:
    return answer_from_memory(question, memory, viewpoint, in_view)


def _remembered(one: Any, viewpoint: Viewpoint) -> KnownObject:
    return KnownObject(
        **object_fields(one.box, viewpoint.pose.translation.tolist()),
        id=str(one.id),
        state=one.state,
        age_s=round(max(viewpoint.now - one.last_seen, 0.0), 3),
        observations=one.observations,
        sentence=where_sentence(one, viewpoint),
    )
