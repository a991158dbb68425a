"""Compares `python.json`: boxes as bins and text, projection, condition strings and the released samples.

The reference's own forms are checked through `test.parity.compat`; where the product has a form of its own that
must give the same (the demo's bins, the conditions), that is checked too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import QueryError, UnparsableError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.points import Normalisation
from n3d_core.language import prompts, structured
from n3d_core.language.structured import BoxCodec
from n3d_core.reasoning.relations import stated_numbers
from test.parity import compat
from test.parity.compat import DEMO_BINS, Bins, ReferenceBox
from test.parity.prompt_checks import sample_geometry
from test.parity.report import Report

Item = dict[str, Any]
_NUMBER = re.compile(r"-?\d+\.\d+")


def check_text(golden: dict[str, Any], report: Report) -> None:
    """Compares every section; one that is not known is a failure."""
    for section, content in golden.items():
        check = _SECTIONS.get(section)
        if check is None:
            report.fail("text", f"python.json/{section}", "not known to this check")
            continue
        for index, item in enumerate(content if isinstance(content, list) else [content]):
            what = f"{section}/{index}"
            with report.guarded(section, f"python.json/{what}"):
                if isinstance(item, dict) and "error" in item:  # the reference raises on this input
                    _check_refused(what, item, check, report)
                else:
                    check(what, item, report)


def _check_refused(what: str, item: Item, check: Callable[[str, Any, Report], None], report: Report) -> None:
    try:
        check(what, item, Report())
    except (QueryError, ArithmeticError, ValueError, TypeError):
        report.same("refused", what, True, True)
    except KeyError:  # it got as far as the comparison, for which there is no golden value
        report.same("refused", what, "a result", item["error"])


def _check_boxes(what: str, item: Item, report: Report) -> None:
    box = _box(item["input"])
    for key, golden in item.items():
        if key == "input":
            continue
        name = f"{what}/{key}"
        if key == "shift_scale_flip":  # the constants with which the vectors were made
            moved = replace(box, u=1 - box.u, z=box.z * 0.25 + 0.875, size=_scaled(box, 0.25))
            report.same("boxes", name, _fields(moved), golden)
            continue
        planar = key.startswith("xy")
        bins = Bins(**golden.get("kwargs", {}))
        discrete = bins.discretise(_box(item["input"]), planar)
        continuous = bins.undiscretise(discrete, planar)
        ours = {
            "discrete": _fields(discrete, planar),
            "continuous": _fields(continuous, planar),
            "serialized": compat.serialise([discrete]),
            "continuous_serialized": compat.serialise([replace(continuous, name=continuous.name.lower())]),
        }
        for part in ours.keys() & golden.keys():
            report.same("boxes", f"{name}/{part}", ours[part], golden[part])
        if bins == replace(DEMO_BINS, round_uv=True):
            _check_codec(name, box, golden, report)


def _check_codec(what: str, box: ReferenceBox, golden: Item, report: Report) -> None:
    """The product's codec, on what it may meet: objects in front of the camera, extents that are not negative."""
    if box.z <= 0:
        return
    codec = BoxCodec(Normalisation((0.0, 0.0, 0.0), 1.0), _camera(np.eye(3)))
    code, bins = codec.encode(Box3D(box.name, (box.u * box.z, box.v * box.z, box.z), box.size)), golden["discrete"]
    ours = {"u": code.u, "v": code.v, "z": code.z, "x": code.sx, "y": code.sy, "w": code.sz}
    wanted = {axis: bins[f"position_{axis}"] for axis in "uvz"}
    wanted |= {key: bins[f"scale_{axis}"] for key, axis in zip("xyw", "xyz", strict=True)}
    for axis, fraction in (("u", box.u), ("v", box.v)):
        if abs(fraction * 1000 % 1 - 0.5) < 1e-6:  # a tie: projecting the centre decides it by its last bit
            ours[axis] = wanted[axis]
    report.same("product_boxes", f"{what}/codec", ours, wanted)


def _check_parse(what: str, item: Item, report: Report) -> None:
    for form in ("uv", "xy"):
        try:
            ours: Item = {"ok": [_fields(box, form == "xy") for box in compat.parse(item["text"])]}
        except ValueError as error:
            ours = {"error": "ValueError", "message": str(error)}
        report.same("parse", f"{what}/{form}", ours, item[form])
    boxes = item["uv"].get("ok")
    if boxes and item["text"] == compat.serialise([_integral(b) for b in boxes]).rstrip("\n"):
        try:
            codes = structured.parse(item["text"])
        except UnparsableError as error:
            return report.fail("product_boxes", what, str(error))
        wanted = [(" ".join(b["class_name"].split()), *map(int, _box(b).numbers)) for b in boxes]
        report.same("product_boxes", what, [(c.label, *c.bins) for c in codes], wanted)
    return None


def _check_empty(what: str, item: Any, report: Report) -> None:
    report.same("parse", what, compat.serialise([]), item)


def _check_unproject(what: str, item: Item, report: Report) -> None:
    report.near("unproject", what, compat.unproject(item["u"], item["v"], item["z"], _intrinsics(item)), item["xyz"])


def _check_corners(what: str, item: Item, report: Report) -> None:
    box, fractions, golden = item["box"], _intrinsics(item), item["out"]
    centre = (box["position_x"], box["position_y"], box["position_z"])
    size = (box["scale_x"], box["scale_y"], box["scale_z"])
    behind = (np.nan, np.nan)
    try:
        box_2d = prompts.image_box(centre, size, fractions)
    except QueryError:
        report.same("corners", f"{what}/refused", True, "error" in golden)
        return
    ours = [prompts.project(c, fractions) if c[2] > 0 else behind for c in prompts.corners(centre, size)]
    report.near("corners", f"{what}/corners", ours, [c or behind for c in golden["ok"]["corners_2d"]])
    report.near("corners", f"{what}/bbox", box_2d, golden["ok"]["bbox_2d"])
    report.near("corners", f"{what}/centre", prompts.project(centre, fractions), golden["ok"]["center_2d"])
    report.same("corners", f"{what}/class", " ".join(box["class_name"].split()), golden["ok"]["class_name"])


def _check_condition(what: str, item: Item, report: Report) -> None:
    boxes = [ReferenceBox(o[0], o[1], o[2], o[3], o[4], o[5], (o[6], o[7], o[8])) for o in item["objects"]]
    fractions = _intrinsics(item)
    question = None if item["auto_split"] else item["question2"]
    report.same("conditions", what, compat.condition(boxes, fractions, question), item["cond"])
    if question is None and fractions[0, 1] == 0:
        _check_product_condition(what, boxes, fractions, item["cond"], report)


def _check_product_condition(
    what: str, boxes: list[ReferenceBox], fractions: NDArray[np.floating], wanted: str, report: Report
) -> None:
    """The product's condition, from boxes and camera: the same words, and numbers that differ by a tie at most."""
    metres = [Box3D(b.name, compat.unproject(b.u, b.v, b.z, fractions), b.size) for b in boxes]
    plain = [" ".join(b.name.split()) for b in boxes]
    names = plain if len(boxes) <= 3 else [f"{b.id}_{name}" for b, name in zip(boxes, plain, strict=True)]
    ours = prompts.scene_condition(metres, _camera(fractions), names)
    report.same("product_conditions", f"{what}/words", _NUMBER.sub("#", ours), _NUMBER.sub("#", wanted))
    numbers = [[float(n) for n in _NUMBER.findall(text)] for text in (ours, wanted)]
    report.near("product_conditions", f"{what}/numbers", *numbers)


def _check_sentence(what: str, item: Item, report: Report) -> None:
    report.same("first_sentence", what, compat.first_sentence(item["text"]), item["out"])


def _check_rounding(what: str, item: Item, report: Report) -> None:
    value = float(item["in"])
    kinds: dict[str, Callable[[float], float]] = {
        "float": lambda v: stated_numbers(Box3D("", (0.0, 0.0, v), (0.0, 0.0, 0.0)))[2],
        "float64": lambda v: prompts.rounded_image_box([v])[0],
    }
    report.same("rounding", what, str(kinds[item["type"]](value)), item["out"])


def _check_released(what: str, item: Item, report: Report) -> None:
    normalisation, _ = sample_geometry(item)
    ours = compat.saved_grounding(item["codes"], normalisation)
    report.same("released", f"{what}/continuous", ours, item["continuous"])
    if item.get("equal_modulo_spaces"):
        report.same("released", f"{what}/text", " ".join(ours.split()), " ".join(item["released_text"].split()))


_SECTIONS: dict[str, Callable[[str, Any, Report], None]] = {
    "boxes": _check_boxes,
    "parse": _check_parse,
    "serialize_empty": _check_empty,
    "uvz_to_xyz": _check_unproject,
    "xyz_to_2d_corners": _check_corners,
    "scene_condition": _check_condition,
    "first_sentence": _check_sentence,
    "round2": _check_rounding,
    "released": _check_released,
}


def _box(fields: Item, first: str = "position_u", second: str = "position_v") -> ReferenceBox:
    size = (fields["scale_x"], fields["scale_y"], fields["scale_z"])
    return ReferenceBox(
        fields["id"], fields["class_name"], fields[first], fields[second], fields["position_z"], fields["angle_z"], size
    )


def _integral(fields: Item) -> ReferenceBox:
    box = _box(fields)
    u, v, z, angle, *size = (int(n) if math.isfinite(n) else n for n in map(float, box.numbers))
    return ReferenceBox(box.id, box.name, u, v, z, angle, (size[0], size[1], size[2]))


def _fields(box: ReferenceBox, planar: bool = False) -> Item:
    """A box as the golden file writes it; JSON has no NaN, so those numbers stand as text."""
    first, second = ("position_x", "position_y") if planar else ("position_u", "position_v")
    keys = (first, second, "position_z", "angle_z", "scale_x", "scale_y", "scale_z")
    numbers = {k: n if math.isfinite(n) else str(n) for k, n in zip(keys, box.numbers, strict=True)}
    return {"id": box.id, "class_name": box.name, **numbers}


def _scaled(box: ReferenceBox, factor: float) -> tuple[float, float, float]:
    return box.size[0] * factor, box.size[1] * factor, box.size[2] * factor


def _intrinsics(item: Item) -> NDArray[np.floating]:
    return np.array(item["intr"], dtype={"float32": np.float32, "float64": np.float64}[item["intr_dtype"]])


def _camera(fractions: NDArray[np.floating]) -> Camera:
    """A camera of one pixel, whose pixels are fractions of the image."""
    k = fractions.astype(np.float64)
    return Camera(1, 1, k[0, 0], k[1, 1], k[0, 2] - 0.5, k[1, 2] - 0.5)
