"""Times a question about a frame, compared with the same weights run as in the released scripts.

    python -m bench.question --json                                       n3d-tiny on the demo's frames
    python -m bench.question --random-weights 3b --layers 4 --repeat 1    the released widths without a download

Both ways run in one process, on one image, and decode greedily. `question_speedup`, `second_question_speedup` and
`grounding_speedup` (the first pass alone: the image and a grounding query) are ratios of medians; `vision_runs`,
`prefix_tokens_recomputed` and `saved` count the work of both questions together. With random weights both produce the
same prescribed replies.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.command import bench_parser, run_bench
from bench.observed import ObservedBackend
from bench.random_model import QUESTION, TRUSTING, cache_at, phrase_replies, prescribed_replies, random_checkpoint
from bench.reference import ReferenceModel
from n3d_core.cli.bench import (
    Machine,
    default_device,
    machine_figures,
    measure_decode,
    measure_machine,
    median_of,
    read_frame,
    repeated,
    use_threads,
)
from n3d_core.errors import BackendError, ConfigError, MissingDependencyError
from n3d_core.geometry.frame import Frame
from n3d_core.language import prompts
from n3d_core.language.structured import BoxCodec, parse, serialise
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.models import find_model
from n3d_core.n3d import N3D, View
from n3d_core.network.preprocess import VisionInput
from n3d_core.results import Answer, BoxDecoded

log = logging.getLogger("n3d.bench")

_LANDSCAPE = 0.6525  # height over width: the released sizes then have 46 x 30 = 1,380 patches
Replies = list[list[int]]


@dataclass
class QuestionRun:
    """A frame and two questions, in milliseconds. `first` holds looking, both passes and the audit.

    `prefix_tokens` precede a question: the system prompt and the image.
    """

    first: float
    second: float
    prepare: float
    stages: dict[str, float]
    first_box: float | None
    vision_runs: int
    prefix_tokens_recomputed: int
    prefix_tokens: int
    answers: list[Answer]
    view: View


def ask_twice(model: N3D, frame: Frame, questions: tuple[str, str], replies: Replies | None = None) -> QuestionRun:
    """Looks at a frame and asks two questions about it.

    Args:
        model: whose backend is an `ObservedBackend`.
        replies: prescribed for the phrases of a question and for its reasoning, for random weights; the second
            question finds its phrases grounded.
    """
    backend = model.backend
    assert isinstance(backend, ObservedBackend)
    backend.forget()
    if replies is not None:
        backend.prescribe(reply_cue(model.tokenizer), [*replies, replies[-1]])
    boxes: list[float] = []
    started = time.perf_counter()

    def listen(event: Any) -> None:
        if isinstance(event, BoxDecoded):
            boxes.append(_ms(started))

    view = model.look(frame)
    prefix = sum(tokens for tokens, _ in backend.seen.passes)
    first = view.ask(questions[0], on_event=listen)
    ended, between = _ms(started), time.perf_counter()
    second = view.ask(questions[1])
    return QuestionRun(
        first=ended,
        second=_ms(between),
        prepare=view.times["prepare"],
        stages=first.times,
        first_box=boxes[0] if boxes else None,
        vision_runs=backend.seen.vision_runs,
        prefix_tokens_recomputed=backend.seen.prefix_tokens_recomputed,
        prefix_tokens=prefix,
        answers=[first, second],
        view=view,
    )


def reply_cue(tokenizer: Tokenizer) -> list[int]:
    """The tokens after which a reply starts."""
    return tokenizer.encode(prompts.SUFFIX)


def parse_ms(run: QuestionRun) -> float:
    """Milliseconds to read the first answer's boxes from their text, and to turn their bins into metres."""
    codec = run.view.codec
    text = serialise([codec.encode(box) for box in run.answers[0].boxes])
    started = time.perf_counter()
    for code in parse(text):
        codec.decode(code)
    return _ms(started)


def saved_steps(run: QuestionRun) -> dict[str, int]:
    """The savings of each technique over both questions: decoder passes and prefix tokens.

    Without them, every token but a reply's first takes a pass, and each reply recomputes the whole prefix.
    """
    answers = run.answers
    passes = 2 * len(answers)  # of the released scripts
    drafted = sum(a.drafted for a in answers)
    saved = sum(a.tokens - a.steps - a.replies for a in answers)
    return {
        "jump_forward": max(saved - drafted, 0),
        "drafts": drafted,
        "prefix_tokens": (passes - 1) * run.prefix_tokens - run.prefix_tokens_recomputed,
        "vision_runs": passes - run.vision_runs,
    }


def tokens_per_pass(answers: Sequence[Answer]) -> dict[str, float | None]:
    """Tokens that a forward pass of the decoder wrote, in grounding and in reasoning, the prompts' own passes aside."""
    reasoning = sum(a.reason_tokens for a in answers), sum(a.reason_steps for a in answers)
    tokens, steps = sum(a.tokens for a in answers) - reasoning[0], sum(a.steps for a in answers) - reasoning[1]
    pairs = {"grounding": (tokens, steps), "reasoning": reasoning}
    return {name: round(tokens / steps, 2) if steps else None for name, (tokens, steps) in pairs.items()}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures by the names of the JSON line; progress goes to stderr.

    Raises:
        N3DError: if an option is invalid or the model cannot run here.
    """
    numbers = (args.repeat, args.layers, args.threads)
    if any(number is not None and number < 1 for number in numbers):
        raise ConfigError("--repeat, --layers and --threads must be at least 1")
    if args.layers is not None and args.random_weights is None:
        raise ConfigError("--layers needs --random-weights: the layers of a checkpoint are fixed")
    folder = find_model(args.model)
    if args.random_weights is None:
        return _measure_folder(args, folder)
    with tempfile.TemporaryDirectory(prefix="n3d-bench-") as place, cache_at(place):
        log.info("writing a random %s to %s", args.random_weights, place)
        return _measure_folder(args, random_checkpoint(Path(place), args.random_weights, args.layers, folder))


@dataclass(frozen=True)
class _OurWay:
    """What the reference needs to answer the same questions, and what ours took without preparing the frame.

    It holds nothing of the model: the reference needs its memory.
    """

    questions: tuple[str, str]
    replies: Replies | None
    image: VisionInput
    codec: BoxCodec
    answers: tuple[str, ...]
    times_ms: tuple[float, float]
    grounding_ms: float


def _measure_folder(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    machine = measure_machine(default_device(), use_threads(args.threads))
    figures, ours, frame = _ours(args, folder, machine)
    if args.reference:
        figures |= _reference_figures(folder, ours, args.repeat)
        if args.random_weights is not None:
            figures["real_shape_speedup"] = figures["question_speedup"]
    if args.random_weights is None:
        figures |= _onnx_over_torch(folder, frame, ours.questions, args)
    return figures | machine_figures(machine)


def _ours(args: argparse.Namespace, folder: Path, machine: Machine) -> tuple[dict[str, Any], _OurWay, Frame]:
    """Two questions about a frame on the backend that was asked for."""
    read_ms, frame, questions = read_frame(args.frames)
    if args.random_weights is not None:
        frame, questions = _landscape(frame), (QUESTION, QUESTION)
    model, backend = observed(folder, args.backend, args.threads)
    log.info("warming %s up", backend.name)
    view, replies = model.look(frame), None
    if args.random_weights is not None:
        replies = prescribed_replies(model.tokenizer, view.codec, model.config.eos_token_id)
        model.runtime = replace(model.runtime, calibration=TRUSTING)
        view = model.look(frame)
    figures = _grounding_figures(view, backend, replies)
    log.info("asking %s", backend.name)
    own = None if replies is None else phrase_replies(model.tokenizer, replies)
    runs = repeated(lambda: ask_twice(model, frame, questions, own), args.repeat)
    step = measure_decode(backend.inner, machine)
    figures |= _run_figures(runs)
    figures["stages_ms"] = {"read": round(read_ms, 2), **figures["stages_ms"], "per_token": step.step_ms}
    figures |= {"model": folder.name, "backend": backend.name, "backend_reason": backend.reason}
    figures |= {"questions": list(questions), "model_memory_bytes": model.memory_bytes}
    assert backend.image is not None
    answers = tuple(answer.text for answer in runs[0].answers)
    times = median_of(run.first - run.prepare for run in runs), median_of(run.second for run in runs)
    ours = _OurWay(questions, replies, backend.image, runs[0].view.codec, answers, times, figures["grounding_ms"])
    return figures, ours, frame


def observed(folder: Path, name: str, threads: int | None) -> tuple[N3D, ObservedBackend]:
    """A model that decodes greedily, as the reference does, on an instrumented backend."""
    model = N3D.load(folder, name, sampling="greedy", threads=threads or 0)
    watched = ObservedBackend(model.backend)
    model.runtime = replace(model.runtime, backend=watched)
    return model, watched


def _landscape(frame: Frame) -> Frame:
    rows = min(int(frame.camera.width * _LANDSCAPE), frame.camera.height)
    return Frame(frame.color[:rows], frame.depth[:rows], replace(frame.camera, height=rows))


def _grounding_figures(view: View, backend: ObservedBackend, replies: Replies | None) -> dict[str, Any]:
    """Share of the passes that forced tokens save in grounding; besides, it warms the decoder up."""
    if replies is not None:
        backend.prescribe(reply_cue(view.runtime.tokenizer), replies[:1])
    found = view.ground("all objects")
    plain = max(found.tokens - 1, 1)  # the prompt's own pass decides the first token
    return {"grounding_tokens": found.tokens, "grounding_steps_saved": round(1 - found.steps / plain, 3)}


def _run_figures(runs: list[QuestionRun]) -> dict[str, Any]:
    """What the runs of both questions say; counts are the same in each of them."""
    first_boxes = [run.first_box for run in runs if run.first_box is not None]
    stages = {stage: round(statistics.median(r.stages[stage] for r in runs), 2) for stage in runs[0].stages}
    return {
        "runs": len(runs),
        "answers": [answer.text for answer in runs[0].answers],
        "stages_ms": {**stages, "parse": median_of(map(parse_ms, runs))},
        "question_ms": median_of(run.first for run in runs),
        "second_question_ms": median_of(run.second for run in runs),
        "grounding_ms": median_of(sum(r.stages[s] for s in ("vision", "prefill", "ground")) for r in runs),
        "first_box_ms": median_of(first_boxes) if first_boxes else None,
        "vision_runs": runs[0].vision_runs,
        "prefix_tokens_recomputed": runs[0].prefix_tokens_recomputed,
        "saved": saved_steps(runs[0]),
        "tokens_per_pass": tokens_per_pass(runs[0].answers),
    }


def _reference_figures(folder: Path, ours: _OurWay, repeat: int) -> dict[str, Any]:
    """The reference's way on the same weights, image and questions, and the ratios of both."""
    log.info("loading the same weights as in the released scripts")
    theirs = ReferenceModel(folder, Tokenizer(folder / "tokenizer.json"), default_device())

    def asked(question: str) -> list[Any]:
        log.info("asking as in the released scripts")
        return repeated(lambda: theirs.answer(question, ours.image, ours.codec, ours.replies), repeat)

    first = asked(ours.questions[0])
    # It keeps nothing between questions, so repeating the same one counts as a second question.
    second = first if ours.questions[0] == ours.questions[1] else asked(ours.questions[1])
    times = [median_of(run.seconds * 1e3 for run in results) for results in (first, second)]
    said = [first[0].reasoning, second[0].reasoning]
    grounding = median_of(run.grounding_seconds * 1e3 for run in first)
    return {
        "reference_grounding_ms": grounding,
        "grounding_speedup": round(grounding / ours.grounding_ms, 2),
        "reference_question_ms": times[0],
        "reference_runs": len(first),
        "reference_tokens": first[0].tokens,
        "reference_answers": said,
        "answers_equal": [a == b for a, b in zip(ours.answers, said, strict=True)],
        "question_speedup": round(times[0] / ours.times_ms[0], 2),
        "second_question_speedup": round(times[1] / ours.times_ms[1], 2),
    }


def _onnx_over_torch(
    folder: Path, frame: Frame, questions: tuple[str, str], args: argparse.Namespace
) -> dict[str, Any]:
    """torch's time for a question over ONNX Runtime's, both on the CPU in fp32; above 1, ONNX Runtime is faster."""
    if torch.cuda.is_available():
        return {"onnx_over_torch": None}
    times = {}
    for name in ("torch:fp32", "onnx:fp32"):
        try:
            model, _ = observed(folder, name, args.threads)
        except (BackendError, MissingDependencyError) as error:
            log.info("%s is not compared: %s", name, error)
            return {"onnx_over_torch": None}
        model.look(frame).ground("all objects")  # warms up
        log.info("asking %s", model.backend.name)
        runs = repeated(partial(ask_twice, model, frame, questions), args.repeat)
        times[name] = median_of(run.first - run.prepare for run in runs)
    return {"onnx_over_torch": round(times["torch:fp32"] / times["onnx:fp32"], 2)}


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints tables and, last, the figures as one JSON line."""
    parser = bench_parser(__doc__)
    parser.add_argument("model", nargs="?", default="n3d-tiny", help="a shipped model's name or a checkpoint folder")
    parser.add_argument("--frames", type=Path, help="a frame folder with questions (default: the demo's)")
    parser.add_argument("--backend", default="auto", help="as for `n3d ground` (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="report the median of this many runs, fewer if slow")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--random-weights", metavar="SIZE", help="3b or 7b: the released sizes without a checkpoint")
    parser.add_argument("--layers", type=int, help="with --random-weights: of tower and decoder (default: all)")
    parser.add_argument(
        "--no-reference", dest="reference", action="store_false", help="skip the comparison with the released scripts"
    )
    return run_bench(measure, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
