"""What a benchmark consists of, and its figures by the names that the report and the JSON line use."""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from n3d_core.backends.select import load_backend
from n3d_core.bench.decode import measure_decode
from n3d_core.bench.machine import Machine, measure_machine, peak_memory_bytes
from n3d_core.bench.observed import ObservedBackend
from n3d_core.bench.question import QuestionRun, ask_twice, median_stages, parse_ms, saved_steps
from n3d_core.bench.random_model import released_config, write_random_checkpoint
from n3d_core.errors import BackendError, ConfigError, MissingDependencyError
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.model.config import N3DConfig
from n3d_core.models import find_model
from n3d_core.pipeline import N3D

log = logging.getLogger("n3d.bench")

# What a model of the released sizes says in the second question of the paper's figure 1, shortened; prescribed where
# weights are random, so that both ways write the same tokens.
_QUESTION = "How far is the red mug from the blue box?"
_GROUNDING = "bbox_0=Bbox(red mug,412,530,388,500,61,74,60)\nbbox_1=Bbox(blue box,640,518,455,500,140,122,133)\n"
_REASONING = (
    "<think>The 3D bbox of red mug is [0.11, -0.03, 0.72, 0.08, 0.10, 0.08]. The 3D bbox of blue box is [-0.17, -0.02, "
    "0.83, 0.19, 0.16, 0.18]. So the distance between red mug and blue box is 0.30 meters.</think>"
    "The distance is 0.30 meters."
)
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
        if self.repeat < 1 or (self.layers is not None and self.layers < 1) or (self.threads or 1) < 1:
            raise ConfigError("--repeat, --layers and --threads are at least 1")
        if self.layers is not None and self.random_weights is None:
            raise ConfigError("--layers goes with --random-weights: a checkpoint has the layers that it has")


def measure(suite: Suite) -> dict[str, Any]:
    """Runs a benchmark and returns its figures."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    threads = suite.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    machine = measure_machine("cuda" if torch.cuda.is_available() else "cpu", threads)
    folder = find_model(suite.model)
    if suite.random_weights is None:
        return _measure_folder(suite, folder, machine, scripted=False)
    with tempfile.TemporaryDirectory(prefix="n3d-bench-") as place:
        config = released_config(suite.random_weights, suite.layers, N3DConfig.from_file(folder / "config.json"))
        log.info("writing a random %s", suite.random_weights)
        random = Path(place) / f"random-{suite.random_weights}"
        write_random_checkpoint(random, config, folder / "tokenizer.json")
        cache = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = place  # its graphs go with it
        try:
            return _measure_folder(suite, random, machine, scripted=True)
        finally:
            os.environ.pop("XDG_CACHE_HOME") if cache is None else os.environ.update(XDG_CACHE_HOME=cache)


def _measure_folder(suite: Suite, folder: Path, machine: Machine, scripted: bool) -> dict[str, Any]:
    tokenizer = Tokenizer(folder / "tokenizer.json")
    model = _observed(folder, suite.backend)
    read_ms, frame, questions = _frame(suite, scripted)
    replies = _replies(tokenizer, model.config.eos_token_id) if scripted else None
    runs = _ask(model, frame, questions, replies, suite.repeat)
    figures: dict[str, Any] = {
        "model": folder.name,
        "backend": model.backend.name,
        "backend_reason": model.backend.reason,
        "machine": asdict(machine),
        "questions": list(questions),
        "answers": [a.text for a in runs[0].answers],
        "stages_ms": {"read": round(read_ms, 2), **median_stages(runs), "parse": _median(map(parse_ms, runs))},
        "question_ms": _median(r.first for r in runs),
        "second_question_ms": _median(r.second for r in runs),
        "first_box_ms": _median(r.first_box or float("nan") for r in runs) if runs[0].first_box else None,
        "vision_runs": runs[0].vision_runs,
        "prefix_tokens_recomputed": runs[0].prefix_tokens_recomputed,
        "saved": saved_steps(runs[0]),
    }
    figures |= _grounding_steps(model, frame, replies)
    figures |= _decode_figures(suite, folder, model, machine)
    figures["stages_ms"]["per_token"] = figures["step_ms"]
    if not scripted:
        figures |= _onnx_over_torch(folder, frame, questions, suite.repeat)
    if suite.as_reference:
        figures |= _reference(folder, tokenizer, model, runs, questions, replies, suite.repeat, scripted)
    return figures | {"peak_memory_bytes": peak_memory_bytes(), "model_memory_bytes": model.memory_bytes}


def _observed(folder: Path, backend: str) -> N3D:
    model = N3D.load(folder, backend)
    model.backend = ObservedBackend(model.backend)
    return model


def _frame(suite: Suite, scripted: bool) -> tuple[float, Frame, tuple[str, str]]:
    """Milliseconds to read a frame, the frame, and two questions about it."""
    path = suite.frames or Path(__file__).resolve().parents[2] / "demo" / "frames"
    if not path.is_dir():
        raise ConfigError(f"{path}: no such frame folder; name one with --frames")
    folder = FrameFolder(path)
    started = time.perf_counter()
    frame = folder.frame(0)
    read = (time.perf_counter() - started) * 1e3
    if scripted:
        rows = min(int(frame.camera.width * _LANDSCAPE), frame.camera.height)
        camera = replace(frame.camera, height=rows)
        return read, Frame(frame.color[:rows], frame.depth[:rows], camera), (_QUESTION, _QUESTION)
    truth = folder.truth(0)
    asked = [str(q["text"]) for q in truth.questions] if truth is not None else []
    asked += [_QUESTION, "Which object is the tallest?"]
    return read, frame, (asked[0], asked[1])


def _replies(tokenizer: Tokenizer, end: int) -> list[list[int]]:
    """Both passes of both questions."""
    both = [[*tokenizer.encode(text), end] for text in (_GROUNDING.rstrip("\n"), _REASONING)]
    return both + both


def _ask(
    model: N3D, frame: Frame, questions: tuple[str, str], replies: list[list[int]] | None, repeat: int
) -> list[QuestionRun]:
    log.info("asking %s (%d runs)", model.backend.name, repeat)
    ask_twice(model, frame, questions, replies)  # warms up
    return [ask_twice(model, frame, questions, replies) for _ in range(repeat)]


def _grounding_steps(model: N3D, frame: Frame, replies: list[list[int]] | None) -> dict[str, Any]:
    """Share of the passes that forced tokens save in grounding."""
    backend = model.backend
    assert isinstance(backend, ObservedBackend)
    if replies is not None and backend.script is not None:
        backend.script.replies[:] = replies[:1]
    found = model.look(frame).ground("all objects")
    plain = max(found.tokens - 1, 1)  # the prompt's own pass decides the first token
    return {"grounding_tokens": found.tokens, "grounding_steps_saved": round(1 - found.steps / plain, 3)}


def _decode_figures(suite: Suite, folder: Path, model: N3D, machine: Machine) -> dict[str, Any]:
    names = [suite.backend, *suite.decode]
    speeds = []
    for index, name in enumerate(names):
        log.info("single steps of %s", name)
        backend = model.backend if index == 0 else load_backend(folder, name)
        inner = getattr(backend, "inner", backend)
        speeds.append(measure_decode(inner, machine))
    own = speeds[0]
    return {
        "step_ms": own.step_ms,
        "tokens_per_s": own.tokens_per_s,
        "ceiling_share": speeds[-1].ceiling_share if suite.decode else own.ceiling_share,
        "decode": [asdict(s) for s in speeds],
    }


def _onnx_over_torch(folder: Path, frame: Frame, questions: tuple[str, str], repeat: int) -> dict[str, Any]:
    """torch's time for a question over ONNX Runtime's, both on the CPU in fp32; above 1, ONNX Runtime is faster."""
    times = {}
    for name in ("torch:fp32", "onnx:fp32"):
        try:
            runs = _ask(_observed(folder, name), frame, questions, None, repeat)
        except (BackendError, MissingDependencyError) as error:
            log.info("%s is not compared: %s", name, error)
            return {"onnx_over_torch": None}
        times[name] = _median(r.first - r.prepare for r in runs)
    return {"onnx_over_torch": round(times["torch:fp32"] / times["onnx:fp32"], 2)}


def _reference(
    folder: Path,
    tokenizer: Tokenizer,
    model: N3D,
    runs: list[QuestionRun],
    questions: tuple[str, str],
    replies: list[list[int]] | None,
    repeat: int,
    scripted: bool,
) -> dict[str, Any]:
    from n3d_core.bench.reference import ReferenceModel

    log.info("running the same weights as the released scripts do")
    backend, view = model.backend, runs[0].view
    assert isinstance(backend, ObservedBackend)
    assert backend.image is not None
    assert view is not None
    theirs = ReferenceModel(folder, tokenizer, "cuda" if torch.cuda.is_available() else "cpu")
    image = backend.image
    found = [theirs.answer(questions[0], image, view.codec, replies) for _ in range(repeat)]
    second = theirs.answer(questions[1], image, view.codec, replies)
    ours, later = (_median(r.first - r.prepare for r in runs), _median(r.second for r in runs))
    reference = _median(f.seconds * 1e3 for f in found)
    speedup = round(reference / ours, 2)
    return {
        "reference_question_ms": reference,
        "reference_tokens": found[0].tokens,
        "reference_answers": [found[0].reasoning, second.reasoning],
        "answers_equal": [
            a.text == b for a, b in zip(runs[0].answers, (found[0].reasoning, second.reasoning), strict=True)
        ],
        "question_speedup": speedup,
        "second_question_speedup": round(second.seconds * 1e3 / later, 2),
    } | ({"real_shape_speedup": speedup} if scripted else {})


def _median(values: Any) -> float:
    return round(float(statistics.median(values)), 2)
