"""What a benchmark consists of, and its figures by the names that the report and the JSON line use."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from n3d_core.backends.select import load_backend
from n3d_core.bench.decode import DecodeSpeed, measure_decode
from n3d_core.bench.machine import Machine, measure_machine, peak_gpu_memory, peak_memory_bytes
from n3d_core.bench.observed import ObservedBackend
from n3d_core.bench.prescribed import QUESTION, prescribed_replies
from n3d_core.bench.question import QuestionRun, ask_twice, median_stages, parse_ms, reply_cue, saved_steps
from n3d_core.bench.random_model import released_config, write_random_checkpoint
from n3d_core.bench.repeated import median_of, repeated
from n3d_core.bench.side_by_side import OurWay, compare
from n3d_core.errors import BackendError, ConfigError, MissingDependencyError
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_core.models import find_model
from n3d_core.n3d import N3D, View
from n3d_core.network.config import N3DConfig

log = logging.getLogger("n3d.bench")

_LANDSCAPE = 0.6525  # height over width: the released sizes then have 46 x 30 = 1,380 patches


@dataclass(frozen=True)
class Suite:
    """Options of a benchmark; see `n3d bench --help`."""

    model: str = "n3d-tiny"
    frames: Path | None = None
    backend: str = "auto"
    repeat: int = 3
    threads: int | None = None
    as_reference: bool = False
    random_weights: str | None = None
    layers: int | None = None
    decode: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(number is not None and number < 1 for number in (self.repeat, self.layers, self.threads)):
            raise ConfigError("--repeat, --layers and --threads are at least 1")
        if self.layers is not None and self.random_weights is None:
            raise ConfigError("--layers goes with --random-weights: a checkpoint has the layers that it has")


def measure(suite: Suite) -> dict[str, Any]:
    """Runs a benchmark and returns its figures; progress goes to stderr.

    Raises:
        ConfigError: if an option or the frame folder is wrong.
        CheckpointError, BackendError, MissingDependencyError: if the model cannot run here.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    threads = suite.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    machine = measure_machine("cuda" if torch.cuda.is_available() else "cpu", threads)
    folder = find_model(suite.model)
    if suite.random_weights is None:
        return _measure_folder(suite, folder, machine)
    with tempfile.TemporaryDirectory(prefix="n3d-bench-") as place, _cache_at(place):
        config = released_config(suite.random_weights, suite.layers, N3DConfig.from_file(folder / "config.json"))
        log.info("writing a random %s to %s", suite.random_weights, place)
        random = Path(place) / f"random-{suite.random_weights}"
        write_random_checkpoint(random, config, folder / "tokenizer.json")
        return _measure_folder(suite, random, machine)


@contextmanager
def _cache_at(place: str) -> Iterator[None]:
    """Graphs of random weights go where the weights are, and with them."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = place
    try:
        yield
    finally:
        os.environ.pop("XDG_CACHE_HOME") if before is None else os.environ.update(XDG_CACHE_HOME=before)


def _measure_folder(suite: Suite, folder: Path, machine: Machine) -> dict[str, Any]:
    figures, ours = _ours(suite, folder, machine)  # its backend is given back: the others need its memory
    decode = [figures.pop("own_decode"), *(_decode_of(folder, name, machine, suite) for name in suite.decode)]
    figures |= {"ceiling_share": decode[-1].ceiling_share, "decode": [asdict(speed) for speed in decode]}
    if suite.random_weights is None:
        figures |= _onnx_over_torch(folder, suite)
    if suite.as_reference:
        figures |= compare(folder, ours, suite.repeat)
        if suite.random_weights is not None:
            figures["real_shape_speedup"] = figures["question_speedup"]
    return figures | {"machine": asdict(machine), "peak_memory_bytes": peak_memory_bytes()} | peak_gpu_memory()


def _ours(suite: Suite, folder: Path, machine: Machine) -> tuple[dict[str, Any], OurWay]:
    """Two questions about a frame on the backend that was asked for."""
    read_ms, frame, questions = _frame(suite)
    model, backend = _observed(folder, suite.backend, suite)
    log.info("warming %s up", backend.name)
    view, replies = model.look(frame), None
    if suite.random_weights is not None:
        replies = prescribed_replies(model.tokenizer, view.codec, model.config.eos_token_id)
    grounding = _grounding_steps(view, backend, replies)
    runs = _asked(model, frame, questions, replies, suite.repeat)
    log.info("single steps of %s", backend.name)
    own = measure_decode(backend.inner, machine)
    figures = _run_figures(runs) | grounding
    figures["stages_ms"] = {"read": round(read_ms, 2), **figures["stages_ms"], "per_token": own.step_ms}
    figures |= {"model": folder.name, "backend": backend.name, "backend_reason": backend.reason}
    figures |= {"questions": list(questions), "model_memory_bytes": model.memory_bytes}
    figures |= {"step_ms": own.step_ms, "tokens_per_s": own.tokens_per_s, "own_decode": own}
    return figures, _our_way(runs, questions, replies, backend)


def _run_figures(runs: list[QuestionRun]) -> dict[str, Any]:
    """What the runs of both questions say; counts are the same in each of them."""
    first_boxes = [run.first_box for run in runs if run.first_box is not None]
    return {
        "runs": len(runs),
        "answers": [answer.text for answer in runs[0].answers],
        "stages_ms": {**median_stages(runs), "parse": median_of(map(parse_ms, runs))},
        "question_ms": median_of(run.first for run in runs),
        "second_question_ms": median_of(run.second for run in runs),
        "first_box_ms": median_of(first_boxes) if first_boxes else None,
        "vision_runs": runs[0].vision_runs,
        "prefix_tokens_recomputed": runs[0].prefix_tokens_recomputed,
        "saved": saved_steps(runs[0]),
    }


def _our_way(
    runs: list[QuestionRun], questions: tuple[str, str], replies: list[list[int]] | None, backend: ObservedBackend
) -> OurWay:
    assert backend.image is not None
    first, second = runs[0].answers
    return OurWay(
        questions=questions,
        answers=(first.text, second.text),
        question_ms=median_of(run.first - run.prepare for run in runs),
        second_question_ms=median_of(run.second for run in runs),
        image=backend.image,
        codec=runs[0].view.codec,
        replies=replies,
    )


def _observed(folder: Path, name: str, suite: Suite) -> tuple[N3D, ObservedBackend]:
    model = N3D.load(folder, name, sampling="greedy", threads=suite.threads or 0)  # as the reference decodes
    watched = ObservedBackend(model.backend)
    model.backend = watched
    return model, watched


def _frame(suite: Suite) -> tuple[float, Frame, tuple[str, str]]:
    """Milliseconds to read a frame, the frame, and two questions about it."""
    path = suite.frames or Path(__file__).resolve().parents[2] / "demo" / "frames"
    if not path.is_dir():
        raise ConfigError(f"{path}: no such frame folder; name one with --frames")
    folder = FrameFolder(path)
    started = time.perf_counter()
    frame = folder.frame(0)
    read = (time.perf_counter() - started) * 1e3
    if suite.random_weights is not None:
        rows = min(int(frame.camera.width * _LANDSCAPE), frame.camera.height)
        camera = replace(frame.camera, height=rows)
        return read, Frame(frame.color[:rows], frame.depth[:rows], camera), (QUESTION, QUESTION)
    truth = folder.truth(0)
    asked = [str(q["text"]) for q in truth.questions] if truth is not None else []
    asked += [QUESTION, "Which object is the tallest?"]
    return read, frame, (asked[0], asked[1])


def _grounding_steps(view: View, backend: ObservedBackend, replies: list[list[int]] | None) -> dict[str, Any]:
    """Share of the passes that forced tokens save in grounding; besides, it warms the decoder up."""
    if replies is not None:
        backend.prescribe(reply_cue(view.model), replies[:1])
    found = view.ground("all objects")
    plain = max(found.tokens - 1, 1)  # the prompt's own pass decides the first token
    return {"grounding_tokens": found.tokens, "grounding_steps_saved": round(1 - found.steps / plain, 3)}


def _asked(
    model: N3D, frame: Frame, questions: tuple[str, str], replies: list[list[int]] | None, repeat: int
) -> list[QuestionRun]:
    log.info("asking %s", model.backend.name)
    return repeated(lambda: ask_twice(model, frame, questions, replies), repeat)


def _decode_of(folder: Path, name: str, machine: Machine, suite: Suite) -> DecodeSpeed:
    log.info("single steps of %s", name)
    return measure_decode(load_backend(folder, name, suite.threads or 0), machine)


def _onnx_over_torch(folder: Path, suite: Suite) -> dict[str, Any]:
    """torch's time for a question over ONNX Runtime's, both on the CPU in fp32; above 1, ONNX Runtime is faster."""
    _, frame, questions = _frame(suite)
    times = {}
    for name in ("torch:fp32", "onnx:fp32"):
        try:
            model, _ = _observed(folder, name, suite)
        except (BackendError, MissingDependencyError) as error:
            log.info("%s is not compared: %s", name, error)
            return {"onnx_over_torch": None}
        model.look(frame).ground("all objects")  # warms up
        times[name] = median_of(run.first - run.prepare for run in _asked(model, frame, questions, None, suite.repeat))
    return {"onnx_over_torch": round(times["torch:fp32"] / times["onnx:fp32"], 2)}
