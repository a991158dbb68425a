"""Evaluation: matching, grounding figures, the rule judge, baselines, scores, and going on after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n3d_core.errors import ConfigError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame_folder import TrueObject
from training.calibrate import asked_of, calibrate, fit_existence, fit_logistic, fit_threshold
from training.evaluate import main, parse_ratios, report_of
from training.evaluation.answers import clock_error, is_right, meaning, names_of
from training.evaluation.grounding_metrics import absent_report, grounding_report, replies_of
from training.evaluation.matching import assign, same_class
from training.evaluation.running import EvaluationError, RecordFile
from training.evaluation.score_metrics import calibration_error, ranking, score_report
from training.evaluation.suite import Amount, FolderSuite, SceneSuite
from training.evaluation.table import table
from training.questions.grounding import SceneObjects
from training.questions.spatial import spatial_samples
from training.scenes.scene_config import SceneConfig


def box(label: str, x: float, z: float = 1.0, side: float = 0.2, **more: Any) -> dict[str, Any]:
    """A cube as a record has it."""
    return {"label": label, "center": [x, 0.0, z], "size": [side] * 3, "score": 0.5, **more}


def thing(color: str, cls: str, x: float, visible: float = 1.0) -> dict[str, Any]:
    """An object as a record has it."""
    return box(f"{color} {cls}", x) | {"class": cls, "color": color, "visible": visible}


def record(
    groundings: list[dict[str, Any]], questions: tuple[dict[str, Any], ...] = (), hidden: tuple[int, ...] = ()
) -> dict[str, Any]:
    """A frame with a red mug, a blue mug and a green box, half a metre apart."""
    objects = [thing("red", "mug", -0.5), thing("blue", "mug", 0.0), thing("green", "box", 0.5, 0.5)]
    return {"name": "0", "camera": [640, 480, 500.0, 500.0, 319.5, 239.5], "hidden": list(hidden), "objects": objects,
            "groundings": groundings, "questions": list(questions)}  # fmt: skip


def test_a_label_names_its_class_in_any_form() -> None:
    assert same_class("red mug", "mug")
    assert same_class("the mugs", "mug")
    assert same_class("glasses", "glass")
    assert not same_class("smug", "mug")
    assert not same_class("mug holder", "mug")


def test_the_assignment_has_the_largest_total_overlap_and_never_crosses_classes() -> None:
    cube = (0.2, 0.2, 0.2)
    true = [Box3D("mug", (0.0, 0, 1), cube), Box3D("mug", (0.1, 0, 1), cube), Box3D("can", (1.0, 0, 1), cube)]
    found = [Box3D("red mug", (0.06, 0, 1), cube), Box3D("mug", (0.16, 0, 1), cube), Box3D("mug", (1.0, 0, 1), cube)]
    pairs = assign(found, true, ["mug", "mug", "can"])
    assert [(p.found, p.true) for p in pairs] == [(0, 0), (1, 1)]
    assert pairs[0].iou == pytest.approx(0.14 / 0.26)
    assert assign([], true, ["mug", "mug", "can"]) == []


def test_grounding_counts_over_all_named_queries() -> None:
    asked = [
        {"kind": "class", "text": "mug", "objects": [0, 1], "found": [box("mug", -0.5), box("mug", 0.11)]},
        {"kind": "label", "text": "green box", "objects": [2], "found": [box("green box", 0.5), box("green box", 3.0)]},
        {"kind": "absent", "text": "can", "objects": [], "found": [box("can", 0.0)]},
        {"kind": "absent", "text": "vase", "objects": [], "found": []},
    ]
    replies = replies_of([record(asked)])
    report = grounding_report(replies)
    assert report["queries"] == 2
    assert report["f1_25"] == pytest.approx(2 * 3 / (4 + 3))  # 0.11 m aside is an IoU of 0.29
    assert report["f1_50"] == pytest.approx(2 * 2 / (4 + 3))
    assert report["precision_25"] == pytest.approx(3 / 4)
    assert report["recall_25"] == 1.0
    assert report["mean_iou"] == pytest.approx((1 + 1 + 0.09 / 0.31) / 3)
    assert report["per_class"]["mug"] == {"f1_25": 1.0, "objects": 2}
    assert report["per_class"]["box"]["f1_25"] == pytest.approx(2 / 3)
    assert report["macro_class"]["f1_25"] == pytest.approx((1 + 2 / 3) / 2)
    assert report["center_offset"] == pytest.approx(0.11 / 3)
    assert absent_report(replies) == {"accuracy": 0.5, "queries": 2}


def test_grounding_is_told_apart_by_aspect_ratio_and_size() -> None:
    wide = record([{"text": "red mug", "kind": "label", "objects": [0], "found": [box("red mug", -0.5)]}])
    wide["camera"] = [848, 480, 500.0, 500.0, 423.5, 239.5]
    square = record(
        [
            {"text": "blue mug", "kind": "label", "objects": [1], "found": []},
            {"text": "green box", "kind": "label", "objects": [2], "found": [box("green box", 0.5)]},
        ]
    )
    square["camera"] = [480, 480, 100.0, 100.0, 239.5, 239.5]
    report = grounding_report(replies_of([wide, square]))
    assert {k: (v["recall_25"], v["queries"]) for k, v in report["by_ratio"].items()} == {
        "16:9": (1, 1),
        "1:1": (0.5, 2),
    }
    # 0.2 m wide, its front 0.9 m away: 111 pixels of 848, and 22 of 480
    assert report["recall_by_size"] == {
        "80 and more": {"recall_25": 1.0, "objects": 1},
        "below 40": {"recall_25": 0.5, "objects": 2},
    }


def test_scenes_take_turns_at_the_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def render(seed: int, config: SceneConfig) -> None:
        drawn.append((config.width, config.height, config.fov))
        raise StopIteration

    monkeypatch.setattr("training.evaluation.suite.render", render)
    suite = SceneSuite(3, ratios=parse_ratios("16:9, 3:4"))
    for index in range(3):
        with pytest.raises(StopIteration):
            suite[index]
    assert drawn == [(640, 360, (40.0, 95.0)), (480, 640, (40.0, 95.0)), (640, 360, (40.0, 95.0))]
    assert suite.describe() != SceneSuite(3).describe()
    assert "ratios" not in SceneSuite(3).describe()


@pytest.mark.parametrize("text", ["16", "16:", "16:9,", "0:4", "9:1", "a:b", "4:3;16:9"])
def test_a_ratio_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="WIDTH:HEIGHT"):
        parse_ratios(text)


def test_scaling_by_the_true_depth_takes_a_depth_error_away() -> None:
    far = {"label": "red mug", "center": [-0.55, 0.0, 1.1], "size": [0.22] * 3, "score": 0.5}
    replies = replies_of([record([{"kind": "label", "text": "red mug", "objects": [0], "found": [far]}])])
    report = grounding_report(replies)
    assert report["depth_aligned"] == {"mean_iou": pytest.approx(1.0), "center_offset": pytest.approx(0.0, abs=1e-9)}
    assert report["center_offset"] == pytest.approx(np.hypot(0.05, 0.1))
    assert report["mean_iou_assigned"] < 0.5


def test_finding_a_hidden_object_among_all_is_neither_right_nor_wrong() -> None:
    found = [box("red mug", -0.5), box("blue mug", 0.0), box("green box", 0.5)]
    asked = {"kind": "detect", "text": "all objects", "objects": [0, 1], "found": found}
    report = grounding_report(replies_of([record([asked], hidden=(2,))]))["by_kind"]["detect"]
    assert (report["precision_25"], report["recall_25"]) == (1.0, 1.0)
    report = grounding_report(replies_of([record([asked])]))["by_kind"]["detect"]
    assert report["precision_25"] == pytest.approx(2 / 3)


def test_figures_with_nothing_to_count_are_null() -> None:
    report = report_of([record([])])
    assert report["grounding"]["f1_25"] is None
    assert report["absent"]["accuracy"] is None
    assert report["qa"]["open"] is None
    assert report["scores"]["ece"] is None
    assert "Grounding" in table(report)


LABELS = ["red mug", "blue mug", "green box"]
ALL = (0, 1, 2)
ORDER = ["green box", "red mug", "blue mug"]


def question(kind: str, answer: Any, objects: tuple[int, ...] = (0, 2), unit: str = "") -> dict[str, Any]:
    return {"text": "?", "type": kind, "objects": list(objects), "answer": answer, "unit": unit}


@pytest.mark.parametrize(
    ("entry", "said", "right"),
    [
        (question("left_right", True), "That is True.", True),
        (question("left_right", True), "Yes, the red mug is.", True),
        (question("left_right", True), "That is False.", False),
        (question("left_right", True), "perhaps", False),
        (question("tall_short", "green box"), "green box is taller than red mug.", True),
        (question("tall_short", "green box"), "The box.", True),
        (question("tall_short", "green box"), "red mug is taller than green box.", False),
        (question("tall_short", "red mug", (0, 1)), "0_red mug is taller than 1_blue mug.", True),
        (question("relative_distance", "blue mug", ALL), "red mug is closer to blue mug than to green box.", True),
        (question("relative_distance", "blue mug", ALL), "red mug is closer to green box than to blue mug.", False),
        (question("relative_distance", "green box", ALL), "The green box.", True),
        (question("depth_order", ORDER, ALL), "green box < red mug < blue mug", True),
        (question("depth_order", ORDER, ALL), "green box < blue mug < red mug", False),
        (question("depth_order", ["green box", "red mug"], (0, 2)), "green box", False),
        (question("front_behind", "behind"), "red mug is behind green box.", True),
        (question("front_behind", "behind"), "green box is in front of red mug.", True),
        (question("front_behind", "behind"), "red mug is in front of green box.", False),
        (question("distance", 0.4, unit="m"), "The distance is 0.49 meters.", True),
        (question("distance", 0.4, unit="m"), "The distance is 0.51 meters.", False),
        (question("distance", 40.0, unit="cm"), "It is 0.45 meters.", True),
        (question("distance", 0.4, unit="m"), "about 16 inches", True),
        (question("distance", 0.4, unit="m"), "0.41", True),
        (question("distance", 0.4, unit="m"), "far away", False),
        (question("direction", 11, unit="o'clock"), "around the 11 o'clock direction.", True),
        (question("direction", 11, unit="o'clock"), "around the 12 o'clock direction.", False),
        (question("count", 3), "There are 3 mugs.", True),
        (question("count", 3), "three", True),
        (question("count", 3), "There are 4 mugs.", False),
        (question("dimensions", "0.20 x 0.40 x 0.10", (0,)) | {"form": "number"},
         "red mug is 20.0 centimeters in width, 45.0 centimeters in height, 11.0 centimeters in length.", True),
        (question("dimensions", "0.20 x 0.40 x 0.10", (0,)) | {"form": "number"},
         "red mug is 0.2 meters in width, 0.4 meters in height, 0.2 meters in length.", False),
        (question("dimensions", "0.20 x 0.40 x 0.10", (0,)) | {"form": "number"},
         "red mug is 0.2 meters in width.", False),
    ],
)  # fmt: skip
def test_the_rule_judge(entry: dict[str, Any], said: str, right: bool) -> None:
    assert is_right(entry, LABELS, said) is right


@pytest.mark.parametrize(
    ("entry", "said", "right"),
    [
        (question("tall_short", "red mug") | {"text": "Which is shorter, the red mug or the green box?"},
         "green box is taller than red mug.", True),
        (question("tall_short", "red mug") | {"text": "Which is shorter, the red mug or the green box?"},
         "red mug is taller than green box.", False),
        (question("left_right", True) | {"text": "Is the red mug to the left of the green box?"},
         "The green box is to the right of the red mug.", True),
        (question("left_right", True) | {"text": "Is the red mug to the left of the green box?"},
         "The red mug is to the right of the green box.", False),
        (question("depth_order", ORDER, (0, 1, 2)) | {"text": "Order the mugs and the box from near to far."},
         "blue mug > red mug > green box", True),
        (question("front_behind", "behind") | {"text": "Is the red mug in front of or behind the green box?"},
         "green box is in front of red mug.", True),
        (question("extreme", "green box", ALL) | {"text": "Which object is the tallest?"},
         "It is the green box.", True),
        (question("distance", 0.4, unit="m") | {"text": "How far apart are the red mug and the green box?"},
         "It is 1 foot 4 inches.", True),
    ],
)  # fmt: skip
def test_the_judge_reads_an_answer_by_what_was_asked(entry: dict[str, Any], said: str, right: bool) -> None:
    assert is_right(entry, LABELS, said) is right


def test_the_judge_accepts_the_true_answer_to_every_kind_of_question() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for seed in range(40):
        objects = []
        for color, cls in (("red", "mug"), ("blue", "mug"), ("green", "box"), ("black", "chair"), ("red", "car")):
            x, y, z = rng.uniform((-1, -0.5, 1), (1, 0.5, 4)).tolist()
            w, h, d = rng.uniform(0.1, 0.6, 3).tolist()
            objects.append(TrueObject(Box3D(f"{color} {cls}", (x, y, z), (w, h, d)), cls, color, 1.0))
        labels = [o.box.label for o in objects]
        for sample in spatial_samples(SceneObjects.of(objects, range(5)), 10, seed):
            entry = sample.to_json()
            assert meaning(entry, names_of(entry, labels)) is not None, entry
            assert is_right(entry, labels, sample.solution.text), (entry, sample.solution.text)
            seen.add((entry["type"], entry["form"]))
    assert len(seen) >= 28


def test_the_judge_reads_hours() -> None:
    assert clock_error(question("direction", 12), "1 o'clock") == 1
    assert clock_error(question("direction", 2), "10 o'clock") == 4
    assert clock_error(question("direction", 2), "left") is None


def test_every_baseline_stands_beside_the_models_answer() -> None:
    asked = question("distance", 1.0, unit="m") | {
        "text": "How far is the red mug from the green box?",
        "form": "number",
    }
    good = asked | {"said": "0.5 meters", "verdict": "contradicted", "corrected": "1.05 meters", "direct": "0.9 meters",
                    "found": [box("red mug", -0.5), box("green box", 0.45)]}  # fmt: skip
    report = report_of([record([], (good,))])
    right = {
        key: report[key]["numerical"]
        for key in ("qa", "qa_audited", "qa_own_boxes", "qa_geometry", "qa_direct", "qa_median")
    }
    assert right == {
        "qa": 0.0,
        "qa_audited": 1.0,
        "qa_own_boxes": 1.0,
        "qa_geometry": 1.0,
        "qa_direct": 1.0,
        "qa_median": 1.0,
    }
    assert report["qa_audited"]["numerical_10"] == 1.0
    assert report["qa"]["by_type"]["distance"] == {"accuracy": 0.0, "questions": 1}
    assert report["audit"]["verdicts"] == {"contradicted": 1}


def test_calibration_error_and_ranking() -> None:
    scores = np.repeat([0.2, 0.7], 500)
    right = np.concatenate([np.arange(500) % 5 == 0, np.arange(500) % 10 < 7])  # 20 % and 70 %
    assert calibration_error(scores, right) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error(scores - 0.1, right) == pytest.approx(0.1)
    assert calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) is None
    assert ranking(np.array([0.9, 0.8, 0.3, 0.8]), np.array([True, True, False, False])) == pytest.approx(0.875)
    assert ranking(np.ones(3), np.ones(3, dtype=bool)) is None


def test_intervals_hold_errors_smaller_than_their_width() -> None:
    covariance = np.diag([0.02**2, 0.01**2, 0.01**2]).reshape(-1).tolist()
    found = box("red mug", -0.47, covariance=covariance)  # 1.5 deviations aside along x, none along y and z
    report = score_report(
        replies_of([record([{"kind": "label", "text": "red mug", "objects": [0], "found": [found]}])])
    )
    assert report["interval_68"] == pytest.approx(2 / 3)
    assert report["interval_95"] == 1.0


def test_fitted_scores_are_probabilities() -> None:
    rng = np.random.default_rng(0)
    evidence = -rng.exponential(1.0, size=(4000, 3))
    chance = 1 / (1 + np.exp(-(2.0 + evidence @ [0.5, 1.0, 1.5])))
    weights = fit_logistic(evidence, rng.random(4000) < chance)
    assert weights == pytest.approx([2.0, 0.5, 1.0, 1.5], abs=0.25)


def test_a_threshold_leaves_out_what_costs_more_than_it_finds() -> None:
    weights = {"agreement": np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])}
    logits = {0.72: 0.9445, 0.58: 0.3228, 0.32: -0.7538}

    def found(score: float, x: float) -> dict[str, Any]:
        return box("red mug", x, evidence=[logits[score], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])

    def best(*groundings: dict[str, Any]) -> float:
        records = [record(list(groundings))]
        return fit_threshold(records, asked_of(records), weights)

    right = {"kind": "label", "text": "red mug", "objects": [0], "found": [found(0.72, -0.5), found(0.32, 3.0)]}
    absent = {"kind": "absent", "text": "blue can", "objects": [], "found": [found(0.58, 0.0)]}
    assert best(right) == 0.35  # only the wrong box goes
    assert best(right, absent) == 0.6


def test_existence_tells_what_is_there_from_what_is_not() -> None:
    rng = np.random.default_rng(1)

    def query(number: int) -> dict[str, Any]:
        there = number % 2 == 0
        evidence = rng.normal(1.0 if there else -1.0, 0.3, size=7).tolist()
        found = [box("red mug", -0.5, evidence=evidence)]
        kind, objects = ("label", [0]) if there else ("absent", [])
        return {"kind": kind, "text": "red mug", "objects": objects, "found": found}

    fitted = fit_existence(asked_of([record([query(i) for i in range(200)])]))
    assert (len(fitted["depth"]), len(fitted["agreement"])) == (6, 8)
    assert fitted["present_kept"] > 0.97
    assert fitted["absent_refused"] > 0.97


def test_a_calibration_needs_right_and_wrong_boxes() -> None:
    found = [box("red mug", -0.5, evidence=[0.0, 0.0, 0.0])]
    with pytest.raises(ConfigError, match=r"1 boxes, 1 of them right: at least 50 are required"):
        calibrate([record([{"kind": "label", "text": "red mug", "objects": [0], "found": found}])])


def test_finished_frames_are_kept_and_a_line_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first = RecordFile(path, {"suite": 1})
    first.add(0, {"name": "a"})
    first.add(2, {"name": "c"})
    with path.open("a") as file:
        file.write('{"index": 3, "rec')
    again = RecordFile(path, {"suite": 1})
    assert again.records == {0: {"name": "a"}, 2: {"name": "c"}}
    again.add(1, {"name": "b"})
    assert sorted(RecordFile(path, {"suite": 1}).records) == [0, 1, 2]
    with pytest.raises(EvaluationError, match="contains another run"):
        RecordFile(path, {"suite": 2})


def test_a_first_line_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"sui')
    RecordFile(path, {"suite": 1}).add(0, {"name": "a"})
    assert RecordFile(path, {"suite": 1}).records == {0: {"name": "a"}}


def test_a_record_that_cannot_be_written_is_named_and_those_before_it_stay(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    RecordFile(path, {"suite": 1}).add(0, {"name": "a"})
    full = RecordFile(path, {"suite": 1})
    full.path = Path("/dev/full")
    with pytest.raises(EvaluationError, match=r"/dev/full: cannot be written .*No space left.* free some space"):
        full.add(1, {"name": "b"})
    assert RecordFile(path, {"suite": 1}).records == {0: {"name": "a"}}


def test_a_run_of_a_suite_is_known_again(tmp_path: Path) -> None:
    about = SceneSuite(3).describe()
    RecordFile(tmp_path / "run.jsonl", about).add(0, {"name": "a"})
    assert RecordFile(tmp_path / "run.jsonl", about).records == {0: {"name": "a"}}


def test_suites_of_different_seeds_share_no_scene() -> None:
    pytest.importorskip("mujoco", reason="scenes are rendered by MuJoCo")
    first, second = (SceneSuite(3, seed, amount=Amount(2, 2, 1), width=64, height=48) for seed in (0, 1))
    assert [first[i].name for i in range(3)] == ["1000000", "1000001", "1000002"]
    assert second[0].name == "1010000"
    again = SceneSuite(3, 0, amount=Amount(2, 2, 1), width=64, height=48)
    assert first[1].truth.to_json() == again[1].truth.to_json()
    assert first[1].truth.to_json() != second[1].truth.to_json()
    case = first[0]
    assert len(case.truth.groundings) >= 2
    assert case.truth.groundings[-1]["kind"] == "marked"
    shifted = SceneSuite(3, 0, shift=True, width=64, height=48)[0]
    assert not np.array_equal(shifted.frame.color, case.frame.color)
    with pytest.raises(ConfigError, match="scenes must be between 1 and 10000; got 0"):
        SceneSuite(0)


def test_a_folder_is_asked_what_its_truth_says(tmp_path: Path) -> None:
    from n3d_core.geometry.camera import Camera
    from n3d_core.geometry.frame import Frame
    from n3d_core.geometry.frame_folder import Truth, write_frame

    frame = Frame(np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.float32), Camera.from_fov(40, 64, 48))
    objects = record([])["objects"]
    asked = [{"text": "red mug", "objects": [0]}]
    write_frame(tmp_path, 0, frame, Truth.from_json({"objects": objects, "groundings": asked}))
    write_frame(tmp_path, 1, frame, None)
    suite = FolderSuite(tmp_path)
    assert len(suite) == 1
    assert suite[0].truth.groundings == asked
    assert suite[0].hidden == (0, 2)  # their centres project outside of the image


def test_the_command_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", str(tmp_path), "--scenes", "1", "--fresh"]) == 1
    assert "no such folder with a config.json" in capsys.readouterr().err


def test_a_small_model_is_measured_end_to_end(
    make_config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from training.learn.parallel import Processes
    from training.train import Trainer

    config = make_config("steps=1", "loss.dense=0.0")
    Trainer(config, Processes(0, 1, torch.device("cpu"))).run()
    arguments = ["--checkpoint", f"{config.output}/model", "--scenes", "2", "--groundings", "1", "--questions", "0",
                 "--workers", "1", "--work", str(tmp_path / "work"), "--html", str(tmp_path / "page.html"),
                 "--json"]  # fmt: skip
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert report["suite"]["frames"] == 2
    assert set(report) >= {"grounding", "absent", "qa", "qa_audited", "qa_geometry", "qa_direct", "scores"}
    assert (tmp_path / "page.html").read_text().count("<img") >= 2
    assert len((next((tmp_path / "work").glob("*.jsonl"))).read_text().splitlines()) == 3
