"""A whole model of random weights: sampling by name, answers of the question's type, other image sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import n3d_core.n3d as pipeline
import n3d_core.view as view_module
from n3d_core.decoding.loop import Decoder, Limits, Sampling
from n3d_core.errors import ConfigError, ImageError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.image_size import ImageSize
from n3d_core.language.structured import BoxCode, parse
from n3d_core.n3d import N3D
from n3d_core.reasoning.answers import read_answer
from n3d_core.reasoning.reading import read_question
from test.core.random_model import write_random_model

ABOUT = [
    Box3D("red mug", (-0.2, 0.0, 0.8), (0.1, 0.1, 0.1)),
    Box3D("blue can", (0.2, 0.1, 1.0), (0.1, 0.2, 0.1)),
]
NAMES = ("0_red mug", "1_blue can")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="module")
def model(folder: Path) -> N3D:
    return N3D.load(folder, "torch")


@pytest.fixture(autouse=True)
def short_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights do not come to an end by themselves."""
    monkeypatch.setattr(view_module, "Limits", lambda tokens=160, *more, **given: Limits(tokens, *more, **given))
    monkeypatch.setattr(pipeline, "MAX_THOUGHT", 24)


def frame(width: int = 64, height: int = 48) -> Frame:
    rng = np.random.default_rng(0)
    depth = (1.0 + 0.5 * np.linspace(0, 1, height)[:, None] + np.zeros((height, width))).astype(np.float32)
    return Frame(rng.integers(0, 256, (height, width, 3), np.uint8), depth, Camera.from_fov(60.0, width, height))


@pytest.mark.parametrize(
    "question",
    [
        "Is 0_red mug left of 1_blue can?",
        "Which is taller, 0_red mug or 1_blue can?",
        "How far is 0_red mug from 1_blue can in centimeters?",
        "How wide is 0_red mug?",
        "How many mugs are there?",
        "At what o'clock is 1_blue can from 0_red mug?",
    ],
)
def test_an_answer_of_random_weights_is_of_the_questions_type(model: N3D, question: str) -> None:
    read = read_question(question, NAMES)
    assert read is not None
    answer = model.look(frame()).ask(question, about=ABOUT)
    assert read_answer(read, NAMES[: max(len(read.names), 1)], answer.answer) is not None, answer.text
    assert "cannot be read" not in answer.verdict_reason


def test_a_question_of_no_known_type_is_answered_freely(model: N3D) -> None:
    assert model.look(frame()).ask("What is it made of?", about=ABOUT).verdict == "unverifiable"


def test_the_released_way_is_what_the_checkpoint_and_the_scripts_ask_for(folder: Path, tmp_path: Path) -> None:
    end = N3D.load(folder, "torch").config.eos_token_id
    other = write_random_model(tmp_path, repetition_penalty=1.3, eos_token_id=[end, 65], temperature=1e-6, top_k=1)
    released = N3D.load(other, "torch", sampling="released", seed=5)
    assert released.sampling == Sampling(0.6, 0.95, 10, 1.3, seed=5)
    assert released.words.ends == {end, 65}
    for plain in (N3D.load(other, "torch", sampling="greedy"), N3D.load(other, "torch")):
        assert plain.sampling == Sampling()
        assert plain.words.ends == {end, 65}
    with pytest.raises(ConfigError, match="sampling is 'beam': one of checkpoint, greedy, released"):
        N3D.load(other, "torch", sampling="beam")  # type: ignore[arg-type]


def test_sampling_the_released_way_repeats_with_its_seed_and_obeys_the_grammar(folder: Path) -> None:
    said = [N3D.load(folder, "torch", "released", seed).look(frame()).ground("mug").text for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]
    assert all(parse(text) is not None for text in said)


@pytest.mark.parametrize("sampling", [Sampling(repetition_penalty=1.3), Sampling.released(1.05, seed=3)])
def test_with_a_penalty_jumps_and_drafts_give_the_tokens_of_single_steps(
    model: N3D, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "sampling", sampling)
    question = "How far is 0_red mug from 1_blue can?"
    fast = model.look(frame())
    found, answer = fast.ground("mug; can"), fast.ask(question, about=ABOUT)
    monkeypatch.setattr(view_module, "Decoder", lambda chosen, draft=False: Decoder(chosen, jump=False, draft=False))
    plain = model.look(frame())
    assert plain.ground("mug; can").text == found.text
    assert plain.ask(question, about=ABOUT).text == answer.text


def test_an_image_of_another_size_is_refused_by_both_names(folder: Path) -> None:
    model = N3D.load(folder, "torch", image_size=ImageSize(64, 48, "error"))
    assert model.look(frame(128, 96)).ground("mug") is not None  # the same patches
    with pytest.raises(ImageError, match=r"the image is 48x64 \(6x8 patches\) and the model is compiled for 64x48"):
        model.look(frame(48, 64))


@pytest.mark.parametrize("size", [(80, 48), (48, 64), (200, 90)])
def test_a_resized_image_gives_the_same_boxes_in_metres(folder: Path, size: tuple[int, int]) -> None:
    """Where a bin lies does not depend on the size of the image, since the intrinsics go with it."""
    resizing = N3D.load(folder, "torch", image_size=ImageSize(64, 48, "resize")).look(frame(*size))
    plain = N3D.load(folder, "torch").look(frame(*size))
    assert resizing.frame is not None
    assert (resizing.codec.camera.width, resizing.codec.camera.height) == (64, 48)
    code = BoxCode("mug", 300, 700, 400, 500, 90, 80, 70)
    found, expected = resizing.codec.decode(code), plain.codec.decode(code)
    np.testing.assert_allclose(found.center, expected.center, rtol=0.02, atol=0.005)
    np.testing.assert_allclose(found.size, expected.size, rtol=0.02)


def test_a_resized_image_is_the_tower_that_was_compiled(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="the backend: pip install 'n3d-ros[onnxruntime,export]'")
    pytest.importorskip("onnx", reason="writing graphs: pip install 'n3d-ros[export]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled = N3D.load(folder, "onnx", image_size=ImageSize(64, 48, "resize"))
    assert compiled.warm_up() > 0
    with caplog.at_level("INFO", "n3d.export"):
        boxes = compiled.look(frame(80, 48)).ground("mug").boxes
    assert "exporting" not in caplog.text
    assert [b.center for b in compiled.look(frame(80, 48)).ground("mug").boxes] == [b.center for b in boxes]
    with caplog.at_level("INFO", "n3d.export"):
        N3D.load(folder, "onnx", image_size=ImageSize(64, 48)).look(frame(80, 48))
    assert "exporting the vision tower for 8x4 patches" in caplog.text


@pytest.mark.parametrize("text", ["640", "x480", "640x-480", "0x480", "640*480", ""])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="image size"):
        ImageSize.parse(text)
    with pytest.raises(ConfigError, match="on_other is 'crop': one of recompile, resize, error"):
        ImageSize(64, 48, "crop")  # type: ignore[arg-type]
