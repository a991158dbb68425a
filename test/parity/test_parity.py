"""The parity check passes on the golden vectors, and nothing can be changed in a case without its noticing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from test.parity import check_folder
from test.parity.__main__ import main
from test.parity.case_checks import check_prompts, check_tensor, check_tensors
from test.parity.forward import case_inputs, language_arrays, vision_arrays, with_ties_settled
from test.parity.golden import Arrays, Case, read_case, read_json
from test.parity.golden_folder import write_golden_folder
from test.parity.report import Report
from test.parity.weights import rebuilt_network

SHARED = Path(__file__).parents[2] / ".." / "shared" / "golden"
needs_reference = pytest.mark.skipif(not SHARED.exists(), reason="the reference's golden vectors are not in ../shared")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of our own making, which must not be changed."""
    return write_golden_folder(tmp_path_factory.mktemp("golden") / "set")


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    """A copy with one case, to be damaged."""
    shutil.copytree(golden, tmp_path / "set", ignore=shutil.ignore_patterns("two_turns"))
    return tmp_path / "set"


def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main([str(folder)])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


@needs_reference
def test_the_reference_is_reproduced(capsys: pytest.CaptureFixture[str]) -> None:
    code, summary = run(SHARED, capsys)
    assert (code, summary["cases"], summary["skipped"], summary["failed"]) == (0, 5, 0, [])
    assert summary["checks"] > 1600
    errors = summary["errors"]
    assert errors["image_embeds"] <= 2e-5
    assert errors["logits"] <= 1e-4
    exact = ("pixels", "hashes", "pe_coordinates", "pe_coordinates_bf16", "input_ids", "position_ids", "greedy_ids")
    assert [errors[stage] for stage in (*exact, "conditions", "prompts", "released")] == [0.0] * 10


def test_a_folder_of_the_same_form_passes(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, summary = run(golden, capsys)
    assert (code, summary["cases"], summary["failed"]) == (0, 2, [])


def test_a_folder_without_a_tokenizer_runs_on_golden_tokens(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(copied / "tokenizer")
    assert run(copied, capsys)[0] == 0


def test_a_folder_without_cases_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no */case.json" in capsys.readouterr().err


def computed(folder: Path, name: str) -> tuple[Case, Arrays]:
    """A case and what we compute for it."""
    case, tokenizer = read_case(folder / name), Tokenizer(folder / "tokenizer" / "tokenizer.json")
    model = folder / case.info["model"]
    config = N3DConfig.from_file(model / "config.json")
    backend = TorchBackend(rebuilt_network(config, read_json(model / "weights.json"), Report(), "model"))
    inputs = case_inputs(case, backend)
    ours = inputs.arrays | vision_arrays(inputs, backend)
    prompts = check_prompts(case, inputs, tokenizer, Report())
    return case, ours | language_arrays(prompts, inputs.image.plan, ours["image_embeds"], backend, case.tensors)


def damaged(values: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """The array with one element changed: the first, the last and one within; by one, and for floats to NaN."""
    for index in (0, values.size - 1, values.size // 3):
        changes: list[Callable[[Any], Any]] = [lambda v: v ^ 1 if values.dtype == np.uint8 else v + 1]
        if values.dtype == np.float32:
            changes += [lambda v: np.nan, lambda v: v + 1e-2, lambda v: -v - 1]
        for change in changes:
            out = values.copy()
            out.reshape(-1)[index] = change(out.reshape(-1)[index])
            yield out


def unnoticed(name: str, case: Case, ours: Arrays) -> list[str]:
    """Tensors of which one element can be changed without a failure."""
    report = Report()
    check_tensors(name, case.tensors, ours, report)
    assert report.passed, report.table()
    missed = []
    for key, values in case.tensors.items():
        for other in damaged(values):
            report = Report()
            check_tensor(name, key, {**case.tensors, key: other}, ours, report)
            missed += [key] if report.passed else []
    return missed


@pytest.mark.parametrize("name", ["one_turn", "two_turns"])
def test_no_element_of_a_tensor_can_be_changed_unnoticed(golden: Path, name: str) -> None:
    case, ours = computed(golden, name)
    assert len(case.tensors) > 25
    assert unnoticed(name, case, ours) == []


def test_only_a_tie_excuses_a_coordinate_that_is_off_by_one() -> None:
    unrounded = np.array([[4.4999, 4.4], [4.5, -7.502]], dtype=np.float32)
    settled = with_ties_settled(unrounded, np.array([[5, 5], [5, -7]], dtype=np.float32))
    assert settled.tolist() == [[5, 4], [5, -7]]
    assert with_ties_settled(unrounded, np.array([[6, 4], [3, -6]], dtype=np.float32)).tolist() == [[4, 4], [4, -8]]
    assert with_ties_settled(unrounded, None).tolist() == [[4, 4], [4, -8]]


@needs_reference
@pytest.mark.parametrize("name", ["w", *(pytest.param(name, marks=pytest.mark.slow) for name in "abcd")])
def test_no_element_of_a_reference_tensor_can_be_changed_unnoticed(name: str) -> None:
    assert unnoticed(name, *computed(SHARED, name)) == []


def edit_json(path: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        data = json.loads((folder / path).read_text())
        change(data)
        (folder / path).write_text(json.dumps(data))

    return edit


def edit_points(key: str, index: tuple[int, ...], value: float) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        with np.load(folder / "one_turn" / "points.npz") as stored:
            arrays = {name: stored[name].copy() for name in stored.files}
        arrays[key][index] = value
        np.savez(folder / "one_turn" / "points.npz", **arrays)

    return edit


def edit_image(folder: Path) -> None:
    path = folder / "one_turn" / "image.png"
    image = Image.open(path)
    image.putpixel((40, 40), tuple(255 - c for c in image.getpixel((40, 40))))
    image.save(path)


def edit_tensors(change: Callable[[Arrays], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "one_turn" / "tensors.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return edit


def cut(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:-64]) and None


CASE = "one_turn/case.json"
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights": (edit_json("small/weights.json", lambda d: d.update(seed=8)), "weights"),
    "weights listed": (edit_json("small/weights.json", lambda d: d["parameters"].popitem()), "weights"),
    "hash of the pixels": (edit_json(CASE, lambda d: d["sha256"].update(pixel_values="0")), "hashes"),
    "hash of the cloud": (edit_json(CASE, lambda d: d["sha256"].update(point_cloud_nan_to_num="0")), "hashes"),
    "scale": (edit_json(CASE, lambda d: d["normalisation"].update(scaling=0.5)), "normalisation"),
    "shift": (edit_json(CASE, lambda d: d["normalisation"]["shift0"].__setitem__(2, 9.0)), "normalisation"),
    "intrinsics": (edit_json(CASE, lambda d: d["intr"][0].__setitem__(0, 2.0)), "case"),
    "first prompt": (edit_json(CASE, lambda d: d.update(prompt_1=d["prompt_1"] + " ")), "prompts"),
    "second prompt": (edit_json(CASE, lambda d: d.update(prompt_2=d["prompt_2"] + " ")), "prompts"),
    "saved grounding": (edit_json(CASE, lambda d: d.update(grounding_saved="\n")), "prompts"),
    "reply": (edit_json(CASE, lambda d: d.update(scripted_reply=d["scripted_reply"].replace("25", "26"))), "prompts"),
    "path out of the folder": (edit_json(CASE, lambda d: d["files"].update(image="../two_turns/image.png")), "case"),
    "model out of the folder": (edit_json(CASE, lambda d: d.update(model="../small")), "case"),
    "not JSON": (cut(CASE), "case"),
    "a pixel": (edit_image, "hashes"),
    "a point": (edit_points("pcd", (10, 10, 0), 1.0), "hashes"),
    "the mask": (edit_points("pcd", (10, 10, 3), 0.0), "hashes"),
    "intrinsics of the cloud": (edit_points("intr", (0, 0), 1.2), "case"),
    "points cut short": (cut("one_turn/points.npz"), "case"),
    "points that are no archive": (lambda folder: (folder / "one_turn/points.npz").write_bytes(b"PK") and None, "case"),
    "a case of another form": (lambda folder: (folder / CASE).write_text("[1]") and None, "case"),
    "texts of another form": (lambda folder: (folder / "python.json").write_text("[1]") and None, "text"),
    "prompts of another form": (lambda folder: (folder / "prompts.json").write_text('{"a": 1}') and None, "prompts"),
    "no configuration": (lambda folder: (folder / "small/config.json").unlink(), "case"),
    "tensors cut short": (cut("one_turn/tensors.safetensors"), "case"),
    "no logits": (edit_tensors(lambda t: t.pop("logits_1") is None), "case"),
    "an unknown tensor": (edit_tensors(lambda t: t.update(mystery=np.zeros(3, np.float32))), "case"),
    "a misshapen tensor": (edit_tensors(lambda t: t.update(image_embeds=t["image_embeds"][1:])), "image_embeds"),
    "tokenizer": (cut("tokenizer/tokenizer.json"), "prompt_tokens"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_named(what: str, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, stage = DAMAGE[what]
    damage(copied)
    code, summary = run(copied, capsys)
    assert code == 1
    assert stage in summary["failed"]
    assert summary["skipped"] == 0


def test_what_lies_in_the_folder_is_not_executed(copied: Path, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    for name in ("golden_io.py", "one_turn/__init__.py", "small/modeling.py"):
        (copied / name).write_text(f"open({str(trap)!r}, 'w')")
    pickled = np.array([{"a": 1}], dtype=object)
    np.savez(copied / "one_turn" / "points.npz", pcd=pickled, intr=np.eye(3, dtype=np.float32))
    report = check_folder(copied)
    assert "Object arrays cannot be loaded" in report.stages["case"].failures[0]
    assert not trap.exists()
