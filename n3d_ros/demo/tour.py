"""`python -m n3d_ros.demo.run --tour`: looks around on a tour, remembers, and is asked about what is out of view.

Every other frame of the tour is grounded; a line is printed whenever an object is remembered, has moved or is gone. At
the end what is remembered is compared with the map's true objects, and two questions are asked: about something that is
out of view, and about something that was taken away. Pictures show the room from above.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from n3d_ros.msg import RememberedObject
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from n3d_core.display.draw import class_color
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame_folder import FrameFolder, MapObject
from n3d_ros.demo.session import DemoError, DemoSession
from n3d_ros.outputs.messages import VERDICTS, detection_box

QUERY = "all objects"
STEP = 2  # of the frames, every other one
PACE_S = 0.6  # from one to the next: the node takes a faster camera for one that was put elsewhere
SETTLE_S = 0.3  # until images of a new frame arrive: one more of the frame before would date its place wrongly
NEAR_M = 0.3  # a remembered object within this, and half its size, of a true one of its class is that one
OFTEN = 3  # frames that must show an object before it counts as missed
VISIBLE = 0.5
_PIXELS_PER_METRE, _MARGIN_M = 90, 0.7
_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (190, 190, 190)
_STATES = {RememberedObject.PRESENT: "present", RememberedObject.GONE: "gone", RememberedObject.UNCERTAIN: "uncertain"}
_VERDICTS = {value: name.replace("_", " ") for name, value in VERDICTS.items()}


@dataclass(frozen=True)
class Report:
    """How well the memory did on a tour.

    Attributes:
        found: true objects remembered as present where they are, out of `seen` that stand at the end and were often in
            view.
        extra: objects remembered as present where there is none.
        gone: true objects that left their place and are not remembered there any more, out of `left`.
    """

    found: int
    seen: int
    extra: int
    gone: int
    left: int


def run(folder: FrameFolder, model: str, backend: str, output: Path, scratch: Path) -> int:
    """Plays the tour; prints what happens, the answers, the pictures' paths and one JSON line.

    Raises:
        DemoError: if the folder is not a tour with the true objects of its map, or a node fails.
    """
    truth = folder.map_objects()
    poses = [folder.pose(i) for i in range(len(folder))]
    if not truth or None in poses:
        raise DemoError(f"{folder.path}: a tour has a pose for every frame and map.truth.json")
    path = np.array([pose.camera_to_map[:2, 3] for pose in poses if pose is not None])
    known: dict[str, RememberedObject] = {}
    ever: set[MapObject] = set()
    pictures, last = [], (len(folder) - 1) // STEP * STEP
    shown = (len(folder) // 3 // STEP * STEP, last)
    with DemoSession(folder.path, model, backend, scratch / "objects.db") as session:
        session.wait_until_active()
        for index in range(0, len(folder), STEP):
            due = time.monotonic() + PACE_S
            session.show(index)
            time.sleep(SETTLE_S)
            session.ground(QUERY)
            now = {one.detection.id: one for one in session.recall()}
            for line in changes(known, now):
                print(f"frame {index:2d}: {line}", flush=True)
            known = now
            ever |= remembered(standing_at(truth, poses[index].stamp_ns / 1e9), list(known.values()))
            time.sleep(max(0.0, due - time.monotonic()))
            if index in shown:
                pictures.append(picture(output / f"tour_{index:02d}.png", list(known.values()), path[: index + 1]))
        answers = [session.ask(question) for question in questions(folder, truth, list(known.values()))]
    report = judge(folder, truth, list(known.values()), ever)
    for answer in answers:
        print(f"\n{answer.question}\n  {answer.answer}  [{_VERDICTS[answer.verdict]}]")
        print("".join(f"  warning: {warning}\n" for warning in answer.result.warnings), end="")
    for each in pictures:
        print(f"seen from above: {each.resolve()}")
    print(f"{report.found} of {report.seen} objects are remembered where they are, {report.extra} where there is none")
    print(f"{report.gone} of {report.left} places that were left are known to be empty")
    print(json.dumps({**vars(report), "answers": [a.answer for a in answers], "pictures": [str(p) for p in pictures]}))
    return 0 if report.found * 2 >= report.seen else 1


def changes(before: dict[str, RememberedObject], now: dict[str, RememberedObject]) -> list[str]:
    """A sentence for each object that is new, is elsewhere, or is in another state."""
    lines = []
    for identity, one in now.items():
        name = f"{label_of(one)} ({identity})"
        was = before.get(identity)
        state = _STATES[one.state]
        if was is None:
            lines.append(f"{name} at {_place(one)}")
        elif np.linalg.norm(center_of(one) - center_of(was)) > 3 * NEAR_M:
            lines.append(f"{name} was moved to {_place(one)}")
        elif was.state != one.state:
            lines.append(f"{name} is {state}")
    return lines


def questions(folder: FrameFolder, truth: Sequence[MapObject], known: Sequence[RememberedObject]) -> list[str]:
    """Where something is that is out of view of the last frame, and where something is that was taken away.

    Each is asked for by a label that nothing else has.
    """
    last = folder.truth((len(folder) - 1) // STEP * STEP)
    in_view = {one.box.label.split()[-1] for one in last.objects} if last is not None else set()
    labels = [label_of(one) for one in known if one.state != RememberedObject.GONE]
    once = [one for one in known if labels.count(label_of(one)) <= 1]
    there = [o for o in once if o.state == RememberedObject.PRESENT and label_of(o).split()[-1] not in in_view]
    end = max(one.until for one in truth)
    ended = {one.label for one in truth} - {one.label for one in standing_at(truth, end)}
    gone = [one for one in once if one.state == RememberedObject.GONE and label_of(one) in ended]
    asked = [*there[:1], *gone[:1]]
    return [f"Where is the {label_of(one)}?" for one in asked]


def judge(
    folder: FrameFolder, truth: Sequence[MapObject], known: Sequence[RememberedObject], ever: set[MapObject]
) -> Report:
    """Compares what is remembered with where the objects of the map are at the end.

    `ever`: those that were remembered where they stood at the time.
    """
    end = max(one.until for one in truth)
    standing = standing_at(truth, end)
    often = [one for one in standing if _times_seen(folder, one) >= OFTEN]
    present = [one for one in known if one.state == RememberedObject.PRESENT]
    wrong = [k for k in present if not any(_is(one, k) for one in standing)]
    left = [one for one in ever if one.until < end]
    return Report(
        found=len(remembered(often, known)),
        seen=len(often),
        extra=len(wrong),
        gone=sum(not any(_is(one, k) for k in wrong) for one in left),
        left=len(left),
    )


def standing_at(truth: Sequence[MapObject], now: float) -> list[MapObject]:
    """The true objects at a time."""
    return [one for one in truth if one.since <= now <= one.until]


def remembered(truth: Sequence[MapObject], known: Sequence[RememberedObject]) -> set[MapObject]:
    """Those true objects that are remembered as present where they are."""
    present = [one for one in known if one.state == RememberedObject.PRESENT]
    return {one for one in truth if any(_is(one, k) for k in present)}


def _times_seen(folder: FrameFolder, one: MapObject) -> int:
    """How many frames show something like an object at its time."""
    count = 0
    for index in range(len(folder)):
        frame, pose = folder.truth(index), folder.pose(index)
        if frame is not None and pose is not None and one.since <= pose.stamp_ns / 1e9 <= one.until:
            count += any(seen.box.label == one.label and seen.visible >= VISIBLE for seen in frame.objects)
    return count


def picture(path: Path, known: Sequence[RememberedObject], walked: np.ndarray) -> Path:
    """Draws what is remembered from above, with the camera's way; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    boxes = [(detection_box(one.detection), _STATES[one.state]) for one in known]
    cv2.imwrite(str(path), draw_plan(boxes, walked)[:, :, ::-1])
    return path


def label_of(one: RememberedObject) -> str:
    """What it is called."""
    return detection_box(one.detection).label


def center_of(one: RememberedObject) -> np.ndarray:
    """[3] in the map."""
    return np.array(detection_box(one.detection).center)


def _place(one: RememberedObject) -> str:
    return f"({', '.join(f'{v:.2f}' for v in center_of(one))})"


def _is(one: MapObject, known: RememberedObject) -> bool:
    """Whether a remembered object is a true one: of its class, and near enough."""
    near = float(np.linalg.norm(center_of(known) - one.center)) < NEAR_M + max(one.size) / 2
    return near and label_of(known).split()[-1] == one.label.split()[-1]


def draw_plan(known: Sequence[tuple[OrientedBox, str]], walked: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The room from above: remembered objects, and the way of the camera. RGB [H, W, 3]; x to the right and y up.

    Args:
        known: boxes in the map, each with its state; what is gone is crossed out, what is uncertain has no filling.
        walked: [N, 2] the camera's places, the last of which is marked.
    """
    places = np.concatenate([walked, *(box.corners()[:, :2] for box, _ in known)])
    low, high = places.min(axis=0) - _MARGIN_M, places.max(axis=0) + _MARGIN_M
    width, height = (int(v) for v in np.ceil((high - low) * _PIXELS_PER_METRE))
    image = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)

    def pixel(point: NDArray[np.float64]) -> tuple[float, float]:
        x, y = (point[:2] - low) * _PIXELS_PER_METRE
        return float(x), float(height - y)

    draw.line([pixel(place) for place in walked], fill=_FAINT, width=2)
    for box, state in known:
        corners = np.asarray(box.center) + np.array(
            [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
        ) * np.asarray(box.size) / 2 @ box.rotation.T  # fmt: skip
        ring = [pixel(corner) for corner in corners]
        red, green, blue = (int(255 * v) for v in class_color(box.label))
        color = _FAINT if state == "gone" else (red, green, blue)
        draw.polygon(ring, fill=color if state == "present" else None, outline=color, width=2)
        if state == "gone":
            draw.line([ring[0], ring[2]], fill=color, width=2)
            draw.line([ring[1], ring[3]], fill=color, width=2)
        text = box.label if state == "present" else f"{box.label} ({state})"
        x = sum(p[0] for p in ring) / 4
        draw.text((x, max(p[1] for p in ring) + 2), text, _FAINT if state == "gone" else _INK, font, anchor="ma")
    x, y = pixel(walked[-1])
    draw.ellipse([x - 6, y - 6, x + 6, y + 6], fill=_INK)
    draw.text((x, y + 9), "camera", _INK, font, anchor="ma")
    return np.asarray(image)
