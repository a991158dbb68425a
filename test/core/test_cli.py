"""The command line: quick help, clear errors, and the same boxes as the Python interface."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from n3d_core import N3D
from n3d_core.cli import COMMANDS, main, query
from n3d_core.cli.inputs import add_frame_arguments, read_input
from n3d_core.cli.query import true_boxes, true_overlaps
from n3d_core.errors import CameraError, ImageError
from n3d_core.geometry import Box3D, Camera
from n3d_core.geometry.camera_file import read_pinhole
from n3d_core.geometry.frame_folder import FrameFolder, TrueObject, Truth

ROOT = Path(__file__).parents[2]
FRAMES = ROOT / "demo" / "frames"


def parsed(*arguments: str) -> object:
    """The frame arguments of a command line."""
    parser = argparse.ArgumentParser()
    add_frame_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One shipped frame as the files that `n3d ground IMAGE --depth …` takes."""
    folder = tmp_path_factory.mktemp("files")
    frame = FrameFolder(FRAMES).frame(0)
    cv2.imwrite(str(folder / "color.png"), frame.color[:, :, ::-1])
    cv2.imwrite(str(folder / "depth.png"), np.nan_to_num(frame.depth * 1000).round().astype(np.uint16))
    cv2.imwrite(str(folder / "tum.png"), np.nan_to_num(frame.depth * 5000).round().astype(np.uint16))
    np.save(folder / "depth.npy", frame.depth)
    frame.camera.to_yaml(folder / "camera.yaml")
    small = frame.camera.resized(frame.width // 2, frame.height // 2)
    small.to_yaml(folder / "small.yaml")
    half = cv2.resize(frame.depth, (small.width, small.height), interpolation=cv2.INTER_NEAREST)
    np.save(folder / "small.npy", half)
    np.save(folder / "wide.npy", half[:100])
    return folder


# ---------------------------------------------------------------- help and usage


def test_help_is_quick_and_imports_no_numpy() -> None:
    program = (
        "import sys, time, n3d_core.cli\n"
        "try: n3d_core.cli.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'torch', 'cv2', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert time.process_time() < 0.3\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    for name, (_, summary) in COMMANDS.items():
        assert name in done.stdout
        assert summary.split()[0] in done.stdout


@pytest.mark.parametrize("command", ["ground", "ask", "annotate", "mcp", "doctor", "download", "compile", "bench"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"n3d {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["ground"], ["ground", "a.png"], ["ask", "a", "b", "--answer-from", "x"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: n3d" in capsys.readouterr().err


# ---------------------------------------------------------------- input


def test_files_and_folder_give_the_same_frame(files: Path) -> None:
    expected = FrameFolder(FRAMES).frame(0)
    camera = ["--camera", str(files / "camera.yaml")]
    for name, unit in (("depth.png", []), ("depth.npy", []), ("tum.png", ["tum"]), ("tum.png", ["5000"])):
        options = ["--depth", str(files / name), *(["--depth-unit", *unit] if unit else [])]
        found = read_input(parsed(str(files / "color.png"), *camera, *options))
        np.testing.assert_array_equal(found.frame.color, expected.color)
        np.testing.assert_allclose(found.frame.depth, expected.depth, atol=2e-4)
        assert found.frame.camera == expected.camera
    from_folder = read_input(parsed(str(FRAMES), "--frame", "1"))
    np.testing.assert_array_equal(from_folder.frame.depth, FrameFolder(FRAMES).frame(1).depth)
    assert from_folder.truth is not None


def test_depth_of_another_size_is_registered_with_its_own_camera(files: Path) -> None:
    arguments = [str(files / "color.png"), "--camera", str(files / "camera.yaml"), "--depth", str(files / "small.npy")]
    found = read_input(parsed(*arguments, "--depth-camera", str(files / "small.yaml")))
    expected = FrameFolder(FRAMES).frame(0).depth
    both = np.isfinite(found.frame.depth) & np.isfinite(expected)
    assert both.mean() > 0.8
    off = np.abs(found.frame.depth - expected)[both] / expected[both]  # a pixel of a floor counts by its distance
    assert np.median(off) < 0.01


def test_extrinsics_move_depth_to_where_the_colour_camera_sees_it(files: Path, tmp_path: Path) -> None:
    camera = Camera.from_fov(60.0, 160, 120)
    camera.to_yaml(tmp_path / "camera.yaml")
    depth = np.full((120, 160), 2.0, np.float32)
    depth[40:80, 60:100] = 1.0
    np.save(tmp_path / "depth.npy", depth)
    cv2.imwrite(str(tmp_path / "color.png"), np.zeros((120, 160, 3), np.uint8))
    yaml = str(tmp_path / "camera.yaml")
    arguments = [str(tmp_path / "color.png"), "--camera", yaml, "--depth", str(tmp_path / "depth.npy")]
    arguments += ["--depth-camera", yaml, "--depth-to-color", "0.1", "0", "0", "0", "0", "0", "1"]
    moved = read_input(parsed(*arguments)).frame.depth
    shift = round(0.1 * camera.fx / 1.0)
    near = moved[60] < 1.5
    assert near.sum() == pytest.approx(40, abs=1)
    assert np.nonzero(near)[0][0] == pytest.approx(60 + shift, abs=1)


def test_a_4x4_file_says_the_same_as_seven_numbers(files: Path, tmp_path: Path) -> None:
    pose = tmp_path / "pose.txt"
    pose.write_text("# depth to color\n1 0 0 0.1\n0 1 0 -0.02\n0 0 1 0.03\n0 0 0 1\n")
    arguments = [str(files / "color.png"), "--camera", str(files / "camera.yaml"), "--depth", str(files / "small.npy")]
    arguments += ["--depth-camera", str(files / "small.yaml"), "--depth-to-color"]
    by_file = read_input(parsed(*arguments, str(pose))).frame.depth
    by_numbers = read_input(parsed(*arguments, *["0.1", "-0.02", "0.03", "0", "0", "0", "1"])).frame.depth
    np.testing.assert_array_equal(by_file, by_numbers)


def test_depth_of_the_same_ratio_is_scaled_and_that_is_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(files / "color.png"), "--camera", str(files / "camera.yaml"), "--depth", str(files / "small.npy")]
    scaled = read_input(parsed(*arguments)).frame.depth
    assert "320x240 and colour 640x480: assuming the same view" in capsys.readouterr().err
    named = read_input(parsed(*arguments, "--depth-camera", str(files / "small.yaml"))).frame.depth
    np.testing.assert_array_equal(scaled, named)


def test_distortion_is_rectified_taken_as_rectified_or_refused(files: Path, tmp_path: Path) -> None:
    text = (files / "camera.yaml").read_text()
    curved = tmp_path / "curved.yaml"
    curved.write_text(text.replace("[0.0, 0.0, 0.0, 0.0, 0.0]", "[-0.2, 0.05, 0.0, 0.0, 0.0]"))
    image = [str(files / "color.png"), "--depth", str(files / "depth.png"), "--camera"]
    plain = read_input(parsed(*image, str(files / "camera.yaml"))).frame
    rectified = read_input(parsed(*image, str(curved))).frame
    assert not np.array_equal(rectified.color, plain.color)
    assert rectified.camera == plain.camera
    np.testing.assert_array_equal(
        read_input(parsed(*image, str(curved), "--distortion", "rectified")).frame.color, plain.color
    )
    with pytest.raises(CameraError, match="'refuse'"):
        read_input(parsed(*image, str(curved), "--distortion", "refuse"))


def test_the_unit_that_a_camera_file_tells_is_used_and_said_and_an_option_goes_before_it(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = read_pinhole(files / "camera.yaml").camera
    bop = tmp_path / "camera.json"
    bop.write_text(json.dumps({"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy, "depth_scale": 0.1}))
    image = [str(files / "color.png"), "--depth", str(files / "depth.png"), "--camera", str(bop)]
    tenths = read_input(parsed(*image))
    assert "10000 values per metre" in capsys.readouterr().err
    assert tenths.limits.unit_is_given
    whole = read_input(parsed(*image, "--depth-unit", "mm"))
    np.testing.assert_allclose(whole.frame.depth, tenths.frame.depth * 10, rtol=1e-5)


SHARED = Path(__file__).parents[3] / "shared/data"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real RGB-D images are not at {SHARED}")
@pytest.mark.parametrize(
    ("arguments", "fx", "median"),
    [
        ("graspnet/color.png --depth graspnet/depth.png --camera graspnet/meta.mat", 631.5, 0.451),
        ("lingbot/rgb.jpg --depth lingbot/raw_depth.png --camera lingbot/intrinsics.txt", 461.3, 1.037),
        (
            "posecnn/000001-color.png --depth posecnn/000001-depth.png --camera 1066.8,1067.5,312.99,241.31 "
            "--depth-unit 10000",
            1066.8,
            0.964,
        ),
        (
            "apc_unregistered/frame-000000.color.png --depth apc_unregistered/frame-000000.depth.png --depth-unit "
            "sun:10000 --camera apc_unregistered/cam.info.txt --depth-camera apc_unregistered/cam.info.txt "
            "--depth-to-color apc_unregistered/cam.info.txt",
            615.2,
            0.601,
        ),
        ("realsense/single_depth_color_640x480.bag", 613.2, 1.503),
    ],
)
def test_public_pictures_are_read_as_their_owners_wrote_them(
    arguments: str, fx: float, median: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SHARED)
    found = read_input(parsed(*arguments.split()))
    assert found.frame.camera.fx == pytest.approx(fx, abs=0.1)
    assert float(np.nanmedian(found.frame.depth)) == pytest.approx(median, abs=0.03)
    assert found.frame.camera.doubts == ()


def test_a_point_map_brings_its_own_camera(tmp_path: Path) -> None:
    k = np.array([[0.9, 0, 0.5], [0, 1.2, 0.5], [0, 0, 1]])
    cloud = np.dstack([np.zeros((30, 40)), np.zeros((30, 40)), np.full((30, 40), 42.0), np.ones((30, 40))])
    np.savez(tmp_path / "map.npz", pcd=cloud.astype(np.float16), intr=k)
    cv2.imwrite(str(tmp_path / "color.jpg"), np.zeros((60, 80, 3), np.uint8))
    found = read_input(parsed(str(tmp_path / "color.jpg"), "--depth", str(tmp_path / "map.npz")))
    np.testing.assert_allclose(found.frame.depth, 42.0)
    np.testing.assert_allclose(found.frame.camera.fractions, k)
    assert found.limits.far > 42.0  # a monocular model says itself what it does not see


DEPTH = ["color.png", "--fov", "60", "--depth", "depth.png"]
SMALL = ["color.png", "--fov", "60", "--depth", "small.npy"]
ERRORS = {
    "no image": (["nowhere.png", "--fov", "60", "--depth", "depth.png"], "nowhere.png: cannot be read as an image"),
    "no depth": (["color.png", "--fov", "60"], "no depth given"),
    "no camera": (["color.png", "--depth", "depth.png"], "no camera given"),
    "two cameras": ([*DEPTH, "--camera", "camera.yaml"], "both set the intrinsics: remove one"),
    "wrong camera": (["color.png", "--depth", "depth.png", "--camera", "small.yaml"], "but color.png is 640x480"),
    "other size": (["color.png", "--fov", "60", "--depth", "wide.npy"], "--depth-camera depth.yaml"),
    "unit": ([*DEPTH, "--depth-unit", "feet"], "got 'feet'"),
    "field of view": (["color.png", "--fov", "200", "--depth", "depth.png"], "must be 1 to 179 degrees; got 200"),
    "limits": ([*DEPTH, "--min-depth", "5", "--max-depth", "1"], "near < far"),
    "transform": ([*DEPTH, "--depth-to-color", *"0000001"], "without --depth-camera"),
    "three numbers": ([*SMALL, "--depth-camera", "small.yaml", "--depth-to-color", *"000"], "must be seven numbers"),
    "far away": (
        [*SMALL, "--depth-camera", "small.yaml", "--depth-to-color", "99", *"000001"],
        "none of the measured depth lies in the colour camera's view",
    ),
    "depth camera": ([*DEPTH, "--depth-camera", "small.yaml"], "small.yaml is for 320x240 but depth.png is 640x480"),
    "depth twice": ([*DEPTH, "--mono", "indoor"], "--depth and --mono both give the depth: remove one"),
    "unit of nothing": (["color.png", "--fov", "60", "--depth-unit", "mm"], "--depth-unit needs --depth FILE"),
    "frame": ([*DEPTH, "--frame", "-1"], "--frame must be at least 0; got -1"),
    "other size of nothing": ([*DEPTH, "--on-other-size", "error"], "--on-other-size needs --image-size"),
    "seed": ([*DEPTH, "--seed", "-1"], "the sampling seed must be at least 0; got -1"),
    "score": ([*DEPTH, "--quiet", "--min-score", "50"], "the minimum score must be from 0 to 1; got 50.0"),
    "quaternion": (
        [*SMALL, "--depth-camera", "small.yaml", "--depth-to-color", *"0000002"],
        "must have length 1; got [0.0, 0.0, 0.0, 2.0]",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_input_that_does_not_fit_is_exit_code_1_and_says_what_to_do(
    case: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = ERRORS[case]
    monkeypatch.chdir(files)
    assert main(["ground", *arguments, "red mug"]) == 1
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.splitlines()[-1].startswith("n3d: ")
    assert shown.out == ""


def test_an_empty_question_asks_for_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(FRAMES), " ", "--quiet"]) == 1
    assert "ask a question, for example 'How far is the mug from the box?'" in capsys.readouterr().err


def test_a_recording_is_not_mistaken_for_a_frame_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rgb.txt").write_text("1.0 rgb/1.png")
    assert main(["ground", str(tmp_path), "mug"]) == 1
    assert f"a recording (tum): convert it first, as in n3d import {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])  # a buffer that cannot be flushed makes Python exit with 120
def test_results_survive_a_full_stderr_and_a_terminal_that_lacks_letters(files: Path, unbuffered: str) -> None:
    program = [sys.executable, "-m", "n3d_core.cli", "ground", str(FRAMES), "réd ☃", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            program,
            stdout=subprocess.PIPE,
            stderr=full,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": unbuffered},
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 0
    assert json.loads(done.stdout)["text"] == "réd ☃"


def test_a_folder_takes_no_files_and_its_frames_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ground", str(FRAMES), "mug", "--depth", "a.png"]) == 1
    assert "remove --depth" in capsys.readouterr().err
    assert main(["ground", str(FRAMES), "mug", "--frame", "99"]) == 1
    assert "--frame must be one of 0..2; got 99" in capsys.readouterr().err


def test_results_that_cannot_be_kept_are_found_before_the_model_runs(capsys: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    assert main(["ground", str(FRAMES), "mug", "--output", "/nowhere/a.png"]) == 1
    assert "the folder /nowhere does not exist" in capsys.readouterr().err
    assert main(["ground", str(FRAMES), "mug", "--timeout", "0"]) == 1
    assert "more than 0 seconds" in capsys.readouterr().err
    assert time.monotonic() - start < 5


def test_an_unknown_model_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ground", str(FRAMES), "mug", "--model", "nothing"]) == 1
    assert "n3d-tiny" in capsys.readouterr().err


def test_the_truth_that_is_shown_is_what_the_text_is_about() -> None:
    things = [
        TrueObject(Box3D(f"{color} {cls}", (0, 0, 1.0 + i), (1, 1, 1)), cls, color, 1.0)
        for i, (color, cls) in enumerate((("red", "mug"), ("blue", "mug"), ("red", "box")))
    ]
    boxes = [thing.box for thing in things]
    groundings = [{"text": "Nearest mug", "objects": [0, 99]}, {"text": "green can", "objects": []}]
    truth = Truth(things, groundings)
    assert true_boxes(None, "mug") is None
    assert true_boxes(truth, "nearest mug") == boxes[:1]  # an index out of range is left out
    assert true_boxes(truth, "green can") == []
    assert true_boxes(truth, "red box; blue mug") == boxes[1:]
    assert true_boxes(truth, "mugs") == boxes[:2]
    assert true_boxes(truth, "all objects") == boxes
    assert true_overlaps([boxes[0]], []) == [0.0]
    assert true_overlaps([boxes[0]], boxes) == [1.0]
    assert true_overlaps([], boxes) is None


# ---------------------------------------------------------------- with the shipped model


def test_ground_prints_the_boxes_of_the_python_interface_and_writes_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = FrameFolder(FRAMES).frame(0)
    expected = N3D.load("n3d-tiny", "torch").look(frame).ground("all objects")
    picture = tmp_path / "out.png"
    arguments = ["ground", str(FRAMES), "all objects", "--backend", "torch", "--output", str(picture)]
    assert main([*arguments, "--json"]) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out.splitlines()[-1])
    assert len(shown.out.splitlines()) == 1
    assert [box["label"] for box in record["boxes"]] == [box.label for box in expected.boxes]
    for box, wanted in zip(record["boxes"], expected.boxes, strict=True):
        np.testing.assert_allclose(box["center"], wanted.center, atol=1e-4)
        np.testing.assert_allclose(box["size"], wanted.size, atol=1e-4)
        assert 0 <= box["true_iou"] <= 1
    assert record["picture"] == str(picture)
    drawn = cv2.imread(str(picture))
    assert max(drawn.shape) >= 960
    assert "n3d-tiny on torch" in shown.err
    assert main([*arguments, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    rows = [line for line in shown.out.splitlines() if line[:1].isdigit()]
    assert len(rows) == len(expected.boxes)


def test_ask_prints_answer_verdict_and_boxes(capsys: pytest.CaptureFixture[str]) -> None:
    truth = FrameFolder(FRAMES).truth(0)
    assert truth is not None
    question = next(q["text"] for q in truth.questions)
    arguments = ["ask", str(FRAMES), question, "--backend", "torch"]
    assert main([*arguments, "--json", "--answer-from", "geometry"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["question"] == question
    assert record["verdict"] in ("verified", "contradicted", "unverifiable")
    reason = record["verdict_reason"]  # behind a verified answer it names slips on the way, if there are any
    assert reason.startswith("The answer is right") or not reason if record["verdict"] == "verified" else reason
    assert main([*arguments, "--about", "all objects"]) == 0
    shown = capsys.readouterr()
    assert "verdict:" in shown.out
    assert "boxes: 0_" in shown.err


def test_a_time_limit_ends_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ground", str(FRAMES), "all objects", "--backend", "torch", "--timeout", "0.0001"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("n3d: ")


def test_a_time_limit_counts_from_the_querys_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing can interrupt the loading of a model and the building of its engines."""
    plain = query.load_model

    def slow(args: argparse.Namespace) -> N3D:
        model = plain(args)
        view = model.look(FrameFolder(FRAMES).frame(0))
        view.ground("box")
        monkeypatch.setattr(model, "look", lambda frame, limits: time.sleep(1.0) or view)
        time.sleep(1.0)
        return model

    monkeypatch.setattr(query, "load_model", slow)
    assert main(["ground", str(FRAMES), "box", "--backend", "torch", "--timeout", "1.5"]) == 0
    assert "timed out" not in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_traceback(files: Path) -> None:
    command = f"{sys.executable} -m n3d_core.cli download | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- where results go

LOUD = (
    "import sys, types, n3d_core.cli as cli\n"
    "loud = types.ModuleType('loud')\n"
    "loud.DESCRIPTION, loud.add_arguments = '', lambda parser: None\n"
    "loud.run = lambda args: print('x' * 100000) or 0\n"
    "sys.modules['loud'] = loud\n"
    "cli.COMMANDS['ask'] = ('loud', '')\n"
    "sys.exit(cli.main(['ask']))\n"
)


@pytest.mark.parametrize(
    ("target", "said"), [("/dev/full", "No space left on device"), ("&-", "standard output is closed")]
)
def test_a_result_that_cannot_be_printed_is_an_error(target: str, said: str) -> None:
    command = f'exec "$0" -c "$1" >{target}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, LOUD], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["", "none/boxes.png", "boxes.docx"])
def test_a_picture_that_cannot_be_written_is_refused_before_the_model_runs(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("n3d_core.cli.query.read_input", lambda args: pytest.fail("it ran"))
    assert main(["ground", str(FRAMES), "mug", "--output", str(tmp_path / name)]) == 1
    assert "--output" in capsys.readouterr().err
    (tmp_path / "link.png").symlink_to(tmp_path / name)
    if not name.endswith(".docx"):
        assert main(["ground", str(FRAMES), "mug", "--output", str(tmp_path / "link.png")]) == 1


def test_a_picture_that_fails_in_the_end_does_not_cost_the_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path, image: object) -> None:
        raise ImageError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr("n3d_core.cli.query.save_picture", fails)
    picture = str(tmp_path / "boxes.png")
    assert main(["ask", str(FRAMES), "How many objects are there?", "--quiet", "--json", "--output", picture]) == 1
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert record["answer"]
    assert record["value"] is None or record["value"]["kind"] == "count"
    assert "No space left on device" in printed.err


def test_a_model_of_rendered_scenes_says_so_before_it_looks_at_a_photograph(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = [str(files / "color.png"), "--depth", str(files / "depth.png"), "--camera", str(files / "camera.yaml")]
    assert main(["ground", *image, "red cone"]) == 0
    assert "n3d-tiny knows 13 classes of rendered scenes and is not meant for real images" in capsys.readouterr().err
    assert main(["ground", str(FRAMES), "red cone"]) == 0
    assert "rendered scenes" not in capsys.readouterr().err
