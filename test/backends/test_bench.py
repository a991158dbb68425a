"""n3d bench, bench.question and bench.decode: what they count, and their JSON lines."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import n3d_core.cli.bench as command
from bench import decode, question, random_model
from bench.observed import ObservedBackend, Script
from bench.question import QuestionRun, saved_steps
from bench.random_model import released_config, write_random_checkpoint
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.cli import main
from n3d_core.cli.bench import Machine, measure_machine
from n3d_core.errors import ConfigError
from n3d_core.models import find_model, shelves
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.preprocess import VisionInput
from n3d_core.results import Answer

from .conftest import small_config

shipped = pytest.mark.skipif(
    not any((shelf / "n3d-tiny" / "config.json").exists() for shelf in shelves()), reason="models/n3d-tiny is not here"
)


def test_counts_of_images_and_of_prefix_tokens_that_are_fed_again(checkpoint: Path, image: VisionInput) -> None:
    backend = ObservedBackend(TorchBackend(load_network(checkpoint)))
    pads = [backend.config.image_token_id] * image.plan.tokens
    sequence = backend.start()
    sequence.extend([1, 2, *pads], np.tile(np.arange(2 + len(pads)), (3, 1)), backend.encode(image))
    prefix = 2 + len(pads)
    sequence.extend([5, 6, 7], np.tile(np.arange(3), (3, 1)))
    sequence.truncate(prefix)
    sequence.extend([8], np.zeros((3, 1), np.int64))
    assert (backend.seen.vision_runs, backend.seen.prefix_tokens_recomputed) == (1, 0)
    sequence.truncate(prefix - 4)
    sequence.extend([1] * 10, np.zeros((3, 10), np.int64))
    assert backend.seen.prefix_tokens_recomputed == 4
    assert [tokens for tokens, _ in backend.seen.passes] == [prefix, 3, 1, 10]


def test_a_script_is_said_whatever_chunks_and_drafts_come(checkpoint: Path) -> None:
    backend = ObservedBackend(TorchBackend(load_network(checkpoint)), Script([90, 91], [[11, 12, 13, 14], [21]]))

    def places(n: int) -> np.ndarray:
        return np.tile(np.arange(n), (3, 1))

    sequence = backend.start()
    assert sequence.extend([3, 90, 91], places(3))[0].argmax() == 11
    rows = sequence.extend([11, 12, 99], places(3), rows=3)  # the last is a draft that is wrong
    assert rows[:2].argmax(axis=1).tolist() == [12, 13]
    sequence.truncate(sequence.length - 1)
    assert sequence.extend([13], places(1))[0].argmax() == 14
    sequence.truncate(1)
    assert sequence.extend([90, 91], places(2))[0].argmax() == 21


def test_bytes_of_a_step_are_those_of_layers_head_and_context(checkpoint: Path) -> None:
    text = small_config().text
    hidden, wide, kv = text.hidden_size, text.intermediate_size, text.num_key_value_heads * text.head_size
    layer = 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * wide + hidden + 2 * kv + 2 * hidden
    weights = text.num_hidden_layers * layer + text.vocab_size * hidden
    cached = 2 * text.num_hidden_layers * kv * 100
    assert TorchBackend(load_network(checkpoint)).step_bytes(100) == 4 * (weights + cached)


def test_bandwidths_are_positive_and_plausible() -> None:
    found = measure_machine("cpu", 1)
    assert isinstance(found, Machine)
    assert found.threads == 1
    assert 0.01 < found.read_gb_s < 2000
    assert 0.01 < found.copy_gb_s < 2000


def test_the_read_bandwidth_is_that_of_the_faster_of_two_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ceiling that a step can pass is none."""
    monkeypatch.setattr(command, "_BYTES", 1 << 20)
    clock = iter([5e-4, 2.5e-4] * 5 + [2e-3] * 5)
    monkeypatch.setattr(command, "_seconds", lambda work, device: (work(), next(clock))[1])
    found = measure_machine("cpu", 1)
    assert (found.read_gb_s, found.copy_gb_s) == (4.19, 1.05)  # a MiB in 0.25 ms; read and written in 2 ms


@pytest.mark.parametrize(("size", "parameters"), [("3b", 3.754e9), ("7b", 8.292e9)])
def test_random_models_have_the_released_sizes(size: str, parameters: float) -> None:
    import torch

    from n3d_core.network.model import N3DNetwork

    with torch.device("meta"):
        network = N3DNetwork(released_config(size, None, small_config()))
    assert math.isclose(sum(p.numel() for p in network.parameters()), parameters, rel_tol=1e-3)


def test_a_random_checkpoint_loads(tmp_path: Path) -> None:
    config = small_config()
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    write_random_checkpoint(tmp_path / "model", config, tokenizer)
    network = load_network(tmp_path / "model")
    assert network.config == N3DConfig.from_file(tmp_path / "model" / "config.json") == config
    assert 0.015 < float(network.model.layers[0].mlp.up_proj.weight.std()) < 0.025


@pytest.mark.parametrize(
    "options",
    ["--repeat 0", "--layers 2", "--layers 0 --random-weights 3b", "--threads 0"],
)
def test_wrong_options_are_refused(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert question.main(options.split()) == 1
    assert "must be at least 1" in (said := capsys.readouterr().err) or "--layers needs --random-weights" in said


@pytest.mark.parametrize("options", ["--repeat 0", "--threads 0"])
def test_the_command_refuses_them_too(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *options.split()]) == 1
    assert "--repeat and --threads must be at least 1" in capsys.readouterr().err


@shipped
def test_the_threads_of_the_benchmark_are_those_of_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bandwidth is measured with as many: a step that runs on others has another ceiling."""
    pytest.importorskip("onnxruntime", reason="the backend: pip install 'n3d-ros[onnxruntime,export]'")
    model, wrapped = question.observed(find_model("n3d-tiny"), "onnx", 2)
    assert model.backend is wrapped
    assert wrapped.inner.decoder.get_session_options().intra_op_num_threads == 2
    used = []
    monkeypatch.setattr(decode, "measure_machine", lambda device, threads: Machine(device, threads, 10.0, 10.0))
    plain = decode.measure_decode
    monkeypatch.setattr(
        decode, "measure_decode", lambda backend, *rest: (used.append(backend), plain(backend, *rest))[1]
    )
    assert decode.main(["--backends", "onnx", "--threads", "2", "--context", "20", "--steps", "2", "--json"]) == 0
    assert used[0].decoder.get_session_options().intra_op_num_threads == 2


@shipped
def test_the_command_prints_tables_and_its_figures_as_the_last_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_BYTES", 1 << 20)
    assert main(["bench", "--repeat", "1", "--backend", "torch", "--decode", "torch:fp32"]) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    figures = json.loads(printed[-1])
    assert any(line.startswith("stages_ms.reason ") for line in printed)
    assert any(line.startswith("decode.1.step_ms ") for line in printed)
    stages = ["read", "prepare", "vision", "prefill", "ground", "reason", "audit", "per_token"]
    assert [name for name in stages if name in figures["stages_ms"]] == stages
    assert min(figures["question_ms"], figures["second_question_ms"]) > 0
    assert [speed["backend"] for speed in figures["decode"]] == ["torch (cpu)", "torch (cpu)"]
    assert figures["machine"]["device"] == "cpu" or figures["peak_gpu_memory_bytes"] > 0


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="--random-weights must be 3b or 7b; got '5b'"):
        released_config("5b", None, small_config())


@shipped
@pytest.mark.slow
def test_the_last_line_is_json_with_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="the oracle: pip install 'n3d-ros[oracle]'")
    assert question.main(["--repeat", "1"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    figures = json.loads(lines[-1])
    assert figures["vision_runs"] == 1
    assert figures["prefix_tokens_recomputed"] == 0
    assert figures["question_speedup"] > 1
    assert figures["second_question_speedup"] > 1
    assert figures["grounding_steps_saved"] >= 0.4
    for key in ("onnx_over_torch", "peak_memory_bytes", "answers_equal"):
        assert figures[key] is not None
    stages = ["read", "prepare", "vision", "prefill", "ground", "reason", "audit", "parse", "per_token"]
    assert list(figures["stages_ms"]) == stages
    assert figures["saved"]["vision_runs"] == 3
    assert figures["saved"]["prefix_tokens"] > 100


@shipped
@pytest.mark.slow
def test_random_weights_say_what_was_prescribed_both_ways(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The released sizes' benchmark on a small network: everything but the widths is as it is there."""
    pytest.importorskip("transformers", reason="the oracle: pip install 'n3d-ros[oracle]'")
    pytest.importorskip("onnxruntime", reason="the backend: pip install 'n3d-ros[onnxruntime,export]'")
    pytest.importorskip("onnx", reason="writing graphs: pip install 'n3d-ros[export]'")

    def narrow(size: str, layers: int | None, words: N3DConfig) -> N3DConfig:
        made = released_config(size, layers, words)
        vision = replace(made.vision, hidden_size=160, intermediate_size=64, num_heads=2, out_hidden_size=128)
        text = {"hidden_size": 128, "intermediate_size": 64, "num_attention_heads": 1, "num_key_value_heads": 1}
        return replace(made, vision=vision, text=replace(made.text, vocab_size=words.text.vocab_size, **text))

    monkeypatch.setattr(random_model, "released_config", narrow)
    asked = ["--random-weights", "3b", "--layers", "2", "--repeat", "1", "--threads", "1"]
    assert question.main(asked) == 0
    figures = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert figures["answers_equal"] == [True, True]
    assert figures["answers"] == figures["reference_answers"]
    assert figures["answers"][0].startswith("<think>The 3D bbox of red mug is [")
    assert figures["real_shape_speedup"] == figures["question_speedup"] > 0
    assert (figures["vision_runs"], figures["prefix_tokens_recomputed"], figures["runs"]) == (1, 0, 1)
    assert figures["saved"]["drafts"] > 100  # of both questions: the boxes that stand in the prompt
    steps = ["--random-weights", "3b", "--layers", "2", "--backends", "onnx:fp32,onnx:int4", "--threads", "1"]
    assert decode.main(steps) == 0
    figures = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert [speed["backend"] for speed in figures["decode"]] == ["onnx (cpu, fp32)", "onnx (cpu, int4)"]
    assert figures["ceiling_share"] == figures["decode"][-1]["ceiling_share"] > 0


def test_runs_are_repeated_until_they_have_taken_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LONG_ENOUGH", 1.0)
    clock = iter(range(100))
    monkeypatch.setattr(command.time, "perf_counter", lambda: next(clock) * 0.1)
    runs = iter(range(100))
    assert command.repeated(lambda: next(runs), 3) == [0, 1, 2]
    monkeypatch.setattr(command, "LONG_ENOUGH", 0.05)
    assert command.repeated(lambda: next(runs), 3) == [3]


def test_what_each_technique_saved_adds_up() -> None:
    """Two questions of two replies: without any technique each token but a reply's first takes a pass."""
    answers = [
        Answer("", "", "", "", "verified", "", steps=40, tokens=100, forced=30, drafted=20, replies=2),
        Answer("", "", "", "", "verified", "", steps=50, tokens=60, forced=5, drafted=0, replies=2),
    ]
    run = QuestionRun(0.0, 0.0, 0.0, {}, None, 1, 0, prefix_tokens=70, answers=answers, view=None)  # type: ignore[arg-type]
    assert saved_steps(run) == {"jump_forward": 46, "drafts": 20, "prefix_tokens": 210, "vision_runs": 3}


def test_random_weights_take_images_as_the_released_ones_do_whatever_the_borrowed_words_model_does() -> None:
    words = replace(small_config(), points="valid", ratios=((4, 3),))
    made = released_config("3b", 2, words)
    assert (made.points, made.ratios, made.pe_order, made.image_longest_side) == ("mean", (), "row_major", 640)
    assert made.image_token_id == words.image_token_id
