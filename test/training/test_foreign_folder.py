"""Frame folders that somebody else has written: everything that can be wrong in one is named, and nothing crashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from n3d_core.errors import ImageError, N3DError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame_folder import FrameFolder
from training.evaluate import report_of
from training.evaluation.matching import same_class
from training.evaluation.suite import FolderSuite
from training.evaluation.table import table

MUG = {"label": "red mug", "class": "mug", "color": "red", "center": [0, 0.1, 1.5], "size": [0.1, 0.12, 0.1]}
STAPLER = {"label": "Stapler", "center": [0.1, 0.2, 1.2], "size": [0.05, 0.05, 0.15], "visible": 1}
OUTSIDE = {"label": "blue box", "class": "box", "color": "blue", "center": [-0.9, 0, 1.5], "size": [1.0, 0.3, 0.3]}
FAR_Q = {"text": "How far is the red mug from the Stapler?", "type": "distance", "objects": [0, 1], "answer": 0.33,
         "unit": "m"}  # fmt: skip


def write(folder: Path, name: str, truth: Any, width: int = 90, height: int = 160) -> None:
    """A portrait frame as another program writes it: names of its own, holes in the depth, no `visible`."""
    folder.mkdir(exist_ok=True)
    (folder / "camera.yaml").write_text(
        f"image_width: {width}\nimage_height: {height}\n"
        f"camera_matrix: {{rows: 3, cols: 3, data: [120, 0, {width / 2}, 0, 120, {height / 2}, 0, 0, 1]}}\n"
    )
    rng = np.random.default_rng(0)
    depth = rng.integers(1200, 1600, (height, width)).astype(np.uint16)
    depth[rng.random(depth.shape) < 0.2] = 0
    cv2.imwrite(str(folder / f"{name}.color.png"), rng.integers(0, 255, (height, width, 3)).astype(np.uint8))
    cv2.imwrite(str(folder / f"{name}.depth.png"), depth)
    if truth is not None:
        (folder / f"{name}.truth.json").write_text(truth if isinstance(truth, str) else json.dumps(truth))


def records(suite: FolderSuite) -> list[dict[str, Any]]:
    """What an interview notes where the model answers every query with the truth."""
    out = []
    for i in range(len(suite)):
        case = suite[i]
        objects, c = case.truth.to_json()["objects"], case.frame.camera
        groundings = [g | {"found": [objects[k] | {"score": 0.5} for k in g["objects"]]} for g in case.truth.groundings]
        questions = [q | {"said": str(q["answer"]), "direct": ""} for q in case.truth.questions]
        camera = [c.width, c.height, c.fx, c.fy, c.cx, c.cy]
        out.append({"name": case.name, "camera": camera, "hidden": list(case.hidden), "objects": objects,
                    "groundings": groundings, "questions": questions})  # fmt: skip
    return out


def test_a_foreign_folder_is_asked_and_judged(tmp_path: Path) -> None:
    write(tmp_path / "f", "b_empty", {"objects": []})
    write(tmp_path / "f", "a_view", {"objects": [MUG, STAPLER, OUTSIDE]})
    write(tmp_path / "f", "no_truth", None)
    suite = FolderSuite(tmp_path / "f")
    assert [suite[i].name for i in range(len(suite))] == ["a_view", "b_empty"]
    view, empty = suite[0], suite[1]
    assert view.frame.camera == Camera(90, 160, 120.0, 120.0, 45.0, 80.0)
    assert view.hidden == (2,)  # its centre lies outside of the image
    assert 0.15 < np.isnan(view.frame.depth).mean() < 0.25
    assert {i for g in view.truth.groundings for i in g["objects"]} <= {0, 1}
    assert view.truth.questions
    assert all(g["objects"] == [] for g in empty.truth.groundings)
    assert all(q["answer"] in (False, 0) for q in empty.truth.questions)  # only about what is not there
    report = report_of(records(suite))
    assert report["grounding"]["f1_50"] == 1.0
    assert report["absent"]["accuracy"] in (None, 1.0)
    assert report["suite"]["classes"] == 3
    assert table(report).startswith("Grounding")


def test_questions_without_forms_are_judged(tmp_path: Path) -> None:
    pair = {
        "text": "Is the red mug to the left of the Stapler?",
        "type": "left_right",
        "objects": [0, 1],
        "answer": True,
    }
    choice = {"text": "Which is more to the left, the red mug or the Stapler?", "type": "left_right", "objects": [0, 1],
              "answer": "red mug"}  # fmt: skip
    order = {"text": "Sort the red mug and the Stapler from near to far.", "type": "left_right", "objects": [0, 1],
             "answer": ["Stapler", "red mug"]}  # fmt: skip
    write(tmp_path / "f", "0", {"objects": [MUG, STAPLER], "questions": [pair, choice, order, FAR_Q]})
    report = report_of(records(FolderSuite(tmp_path / "f")))
    assert report["qa"]["open_questions"] == 3
    assert report["qa"]["numerical_questions"] == 1
    assert table(report)


def test_a_class_counts_whatever_its_case() -> None:
    assert same_class("stapler", "Stapler")
    assert same_class("red Stapler", "stapler")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("{", "cannot be read as a truth file"),
        ("[]", r"objects is \[\]: expected a list of objects"),
        ("{}", "objects is {}: expected a list of objects"),
        ({"objects": {}}, "expected a list of objects"),
        ({"objects": [7]}, r"objects\[0\] is 7: expected an object"),
        ({"objects": [MUG | {"center": [0, 1]}]}, r"objects\[0\].center is \[0, 1\]: expected three finite numbers"),
        ({"objects": [MUG | {"center": None}]}, r"objects\[0\].center is null"),
        ({"objects": [MUG | {"center": [0, float("nan"), 1]}]}, r"objects\[0\].center is \[0, NaN, 1\]"),
        ({"objects": [MUG | {"size": [0.1, -0.1, 0.1]}]}, r"objects\[0\].size .* expected three lengths of at least 0"),
        ({"objects": [MUG | {"size": ["a", 1, 1]}]}, r"objects\[0\].size"),
        ({"objects": [MUG | {"visible": 80}]}, r"objects\[0\].visible is 80: expected a share from 0 to 1"),
        ({"objects": [MUG | {"label": ""}]}, r'objects\[0\].label is "": expected a text of one line'),
        ({"objects": [MUG | {"label": "red\ud800mug"}]}, r"objects\[0\].label is .*: expected a text of one line"),
        ({"objects": [MUG | {"center": [0, 10**400, 1]}]}, r"objects\[0\].center is \[0, 1000"),
        ({"objects": [MUG | {"class": 5}]}, r"objects\[0\].class is 5: expected a text of one line"),
        ({"objects": [MUG | {"color": 5}]}, r"objects\[0\].color is 5: expected a text"),
        ({"groundings": {"red mug": [0]}}, r"groundings is .*: expected a list"),
        ({"groundings": [{"text": "red mug"}]},
         r"groundings\[0\].objects is null: expected a list of indices into the 2"),
        ({"groundings": [{"text": "red mug", "objects": [2]}]}, r"groundings\[0\].objects is \[2\]"),
        ({"groundings": [{"text": "red mug", "objects": [-1]}]}, r"groundings\[0\].objects is \[-1\]"),
        ({"groundings": [{"text": "red mug", "objects": ["red mug"]}]}, r"a list of indices into the 2 objects"),
        ({"groundings": [{"text": " ", "objects": []}]}, r"groundings\[0\].text"),
        ({"groundings": [{"text": "a", "objects": [], "mark": {"color": "red"}}]}, "a color and a rect of four"),
        ({"groundings": [{"text": "a", "objects": [], "mark": {"color": "pink", "rect": [1, 2, 3, 4]}}]},
         "color of a mark must be one of red, green, blue, yellow, magenta, cyan; got 'pink'"),
        ({"questions": ["How far?"]}, r"questions\[0\] is .*: expected an object"),
        ({"questions": [FAR_Q | {"answer": None}]}, r"questions\[0\].answer is null: expected a number, true or false"),
        ({"questions": [FAR_Q | {"answer": "far"}]},
         r"questions\[0\].answer is 'far', but a question of type 'distance' is answered by a number"),
        ({"questions": [FAR_Q | {"answer": True}]},
         r"questions\[0\].answer is True, but a question of type 'distance' is answered by a number"),
        ({"questions": [FAR_Q | {"type": "left_right"}]},
         "answer is 0.33, but a question of type 'left_right' is answered by true, false, a name or a list of names"),
        ({"questions": [FAR_Q | {"type": "colour"}]}, r"type must be one of left_right, .*; got 'colour'"),
        ({"questions": [FAR_Q | {"type": None}]}, r"questions\[0\].type is null: expected a text of one line"),
        ({"questions": [FAR_Q | {"unit": "yards"}]},
         "unit must be one of m, cm, mm, ft, in, l, deg, o'clock or none; got 'yards'"),
        ({"questions": [FAR_Q | {"objects": [0, 9]}]}, r"questions\[0\].objects is \[0, 9\]"),
    ],
)  # fmt: skip
def test_a_truth_file_that_is_wrong_is_named_with_its_entry(tmp_path: Path, changes: Any, message: str) -> None:
    truth = changes if isinstance(changes, str) else {"objects": [MUG, STAPLER]} | changes
    write(tmp_path / "f", "shot", truth)
    with pytest.raises(N3DError, match=message) as caught:
        FolderSuite(tmp_path / "f")
    assert str(caught.value).startswith(f"{tmp_path / 'f'}/shot.truth.json")


def test_frames_that_are_damaged_are_named(tmp_path: Path) -> None:
    root = tmp_path / "f"
    write(root, "shot", {"objects": [MUG]})
    color, depth = root / "shot.color.png", root / "shot.depth.png"
    whole, measured = color.read_bytes(), cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)

    def error() -> str:
        with pytest.raises(N3DError) as caught:
            FrameFolder(root).frame(0)
        return str(caught.value)

    color.write_bytes(whole[:40])
    assert error().startswith(f"{color}: the PNG is truncated: 40 bytes")
    color.write_bytes(whole)
    cv2.imwrite(str(depth), measured[:100])
    assert error().startswith(f"{root / 'shot'}: depth image is [100, 90] but colour [160, 90]")
    cv2.imwrite(str(depth), np.zeros_like(measured))
    assert "shot: depth image 90x160 has no valid pixel" in error()
    cv2.imwrite(str(depth), (measured // 8).astype(np.uint8))
    assert "must be a 16-bit single-channel PNG" in error()
    depth.unlink()
    assert error().startswith(f"{depth}: cannot be read as an image (FileNotFoundError: No such file or directory)")
    cv2.imwrite(str(depth), measured)
    (root / "camera.yaml").write_text((root / "camera.yaml").read_text().replace("image_width: 90", "image_width: 80"))
    assert "shot: camera info is for 80x160, the image is 90x160" in error()


def test_a_folder_that_changed_is_another_run(tmp_path: Path) -> None:
    write(tmp_path / "f", "shot", {"objects": [MUG]})
    before = FolderSuite(tmp_path / "f").describe()
    assert FolderSuite(tmp_path / "f").describe() == before
    write(tmp_path / "f", "shot", {"objects": [MUG, STAPLER]})
    assert FolderSuite(tmp_path / "f").describe() != before


def test_folders_that_hold_nothing_to_judge_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no frame found"):
        FolderSuite(tmp_path / "nowhere")
    write(tmp_path / "f", "shot", None)
    with pytest.raises(N3DError, match="no frame has a truth file"):
        FolderSuite(tmp_path / "f")
