"""Readers of published benchmarks, on files of their form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from n3d_core.errors import ConfigError
from training.evaluation.answers import is_right
from training.evaluation.grounding_metrics import referring_report
from training.evaluation.public_formats import question_type, read_public
from training.evaluation.public_suite import PublicSuite


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in rows))
    return path


def only_question(kind: str, path: Path) -> dict[str, Any]:
    (sample,) = read_public(kind, path)
    return sample.truth.questions[0]


def test_cv_bench_choices_are_judged_by_the_object_that_is_named(tmp_path: Path) -> None:
    row = {"type": "3D", "task": "Depth", "filename": "a.png",
           "question": "Which object is closer to the camera, the table or the chair?",
           "choices": ["table", "chair"], "answer": "(B)"}  # fmt: skip
    other = row | {"task": "Distance", "question": "Which is closer to the bed, the table or the chair?"}
    flat = row | {"type": "2D"}
    depth, distance = (s.truth.questions[0] for s in read_public("cv-bench", lines(tmp_path / "a", row, other, flat)))
    assert is_right(depth, [], "chair is in front of table.")
    assert not is_right(depth, [], "table is in front of chair.")
    assert is_right(distance, [], "bed is closer to chair than to table.")
    assert not is_right(distance, [], "bed is closer to table than to chair.")


def test_spatialrgpt_regions_become_coloured_boxes(tmp_path: Path) -> None:
    row = {"image_info": {"file_path": "a.png"}, "bbox": [[0, 0, 10, 10], [20, 0, 40, 10]],
           "text_q": "Is Region [0] behind Region [1]?",
           "qa_info": {"type": "qualitative", "category": "behind_predicate"},
           "conversations": [{"value": "?"}, {"value": "No, Region [0] is in front of Region [1]."}]}  # fmt: skip
    question = only_question("spatialrgpt", lines(tmp_path / "a", row))
    assert question["text"] == "Is the object in the red box behind the object in the green box?"
    assert question["marks"][1] == {"color": "green", "rect": [20.0, 0.0, 40.0, 10.0]}
    assert question["answer"] is False
    row |= {"text_q": "How tall is Region [0]?", "qa_info": {"type": "quantitative", "category": "height_data"},
            "conversations": [{"value": "?"}, {"value": "The height of Region [0] is 6.91 feet."}]}  # fmt: skip
    question = only_question("spatialrgpt", lines(tmp_path / "a", row))
    assert (question["type"], question["unit"]) == ("height", "m")
    assert question["answer"] == pytest.approx(2.106, abs=1e-3)
    assert is_right(question, [], "It is 2.2 meters in height.")


@pytest.mark.parametrize(
    ("asked", "said", "right", "wrong"),
    [
        ("What is the height of the chair?", "chair is 0.91 meters in height.", "0.95 meters", "1.5 meters"),
        ("If you are at the bed, where will you find the lamp?", "bed will find lamp around the 11 o'clock direction.",
         "11 o'clock", "3 o'clock"),
        ("Is the mug behind the can?", "That is False.", "No.", "Yes."),
        ("Which is wider, the mug or the can?", "can is wider than mug.", "The can.", "mug is wider than can."),
        ("Is the bed closer to the lamp or the desk?", "bed is closer to desk than to lamp.",
         "bed is closer to desk", "bed is closer to lamp"),
    ],
)  # fmt: skip
def test_n3d_bench_answers_are_read_out_of_sentences(
    tmp_path: Path, asked: str, said: str, right: str, wrong: str
) -> None:
    question = only_question("n3d-bench", lines(tmp_path / "a", {"image": "a.png", "question": asked, "answer": said}))
    assert is_right(question, [], right)
    assert not is_right(question, [], wrong)


def test_names_of_types_are_mapped() -> None:
    assert question_type("vertical_distance_data") == "vertical_distance"
    assert question_type("left_choice") == "left_right"
    assert question_type("something else") == "open"


def test_omni3d_boxes_are_asked_for_by_class(tmp_path: Path) -> None:
    image = {
        "id": 7,
        "width": 64,
        "height": 48,
        "file_path": "images/a.png",
        "K": [[50, 0, 32], [0, 50, 24], [0, 0, 1]],
    }
    entry = {"image_id": 7, "category_name": "chair", "valid3D": True, "behind_camera": False,
             "center_cam": [0.1, 0.2, 2.0],
             "dimensions": [0.3, 0.4, 0.5], "R_cam": np.eye(3).tolist()}  # fmt: skip
    path = tmp_path / "omni.json"
    path.write_text(json.dumps({"images": [image], "annotations": [entry, entry | {"valid3D": False}]}))
    (sample,) = read_public("omni3d", path)
    assert sample.camera is not None
    assert sample.truth.groundings == [{"text": "chair", "objects": [0], "kind": "class"}]
    assert sample.truth.objects[0].box.center == pytest.approx((0.1, 0.2, 2.0))
    assert sample.truth.objects[0].box.size == pytest.approx((0.5, 0.4, 0.3))


def test_referring_phrases_are_judged_by_the_projected_box() -> None:
    found = {"label": "chair", "center": [0.0, 0.0, 2.0], "size": [0.4, 0.4, 0.0001], "score": 0.9}
    worse = found | {"center": [1.0, 0.0, 2.0], "score": 0.1}
    hull = [32 - 5, 24 - 5, 32 + 5, 24 + 5]
    record = {
        "camera": [64, 48, 50.0, 50.0, 32.0, 24.0],
        "groundings": [{"rect": hull, "found": [worse, found]}, {"rect": hull, "found": []}],
    }
    report = referring_report([record])
    assert report["phrases"] == 2
    assert report["accuracy_50"] == 0.5
    assert report["projected_iou"] == pytest.approx(0.5, abs=1e-3)


def test_a_benchmark_is_a_suite_with_depth_from_a_folder(tmp_path: Path) -> None:
    for name in ("images", "depth"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), np.zeros((48, 64, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "depth/a.png"), np.full((48, 64), 1500, np.uint16))
    path = lines(tmp_path / "a.jsonl", {"image": "a.png", "question": "How tall is the chair?", "answer": "0.5 meters"})
    case = PublicSuite("n3d-bench", path, tmp_path / "images", str(tmp_path / "depth"))[0]
    assert case.frame.depth.mean() == pytest.approx(1.5)
    assert case.truth.questions[0]["answer"] == 0.5
    (tmp_path / "depth/a.png").unlink()
    with pytest.raises(ConfigError, match="no depth image"):
        PublicSuite("n3d-bench", path, tmp_path / "images", str(tmp_path / "depth"))[0]


def test_a_file_of_another_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read as cv-bench \(KeyError: 'choices'\)"):
        list(read_public("cv-bench", lines(tmp_path / "a", {"type": "3D"})))
    with pytest.raises(ConfigError, match="format must be one of cv-bench, spatialrgpt"):
        list(read_public("coco", tmp_path / "a"))
