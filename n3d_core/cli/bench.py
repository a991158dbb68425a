"""`n3d bench`: measures query times, and how close single steps come to the memory bandwidth limit."""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from n3d_core.cli.tables import figure_table, json_line
from n3d_core.errors import ConfigError

if TYPE_CHECKING:
    from n3d_core.backends.base import Backend
    from n3d_core.geometry.frame import Frame

LONG_ENOUGH = 30.0  # seconds: no further runs once the total exceeds this
_BYTES = 256 << 20  # larger than any cache
_COLUMNS = 8192
_PASSES = 5

Result = TypeVar("Result")

DESCRIPTION = "Measures query times, and how close single steps come to the memory bandwidth limit."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("model", nargs="?", default="n3d-tiny", help="a shipped model's name or a checkpoint folder")
    parser.add_argument("--frames", type=Path, help="a frame folder with questions (default: the demo's)")
    parser.add_argument("--backend", default="auto", help="as for `n3d ground` (default: %(default)s)")
    parser.add_argument(
        "--repeat",
        type=int,
        default=3,
        help="number of runs, of which the median is reported; fewer if slow (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument(
        "--decode", default="", metavar="BACKENDS", help="also measure single steps, as in onnx:fp32,onnx:int4"
    )
    parser.add_argument("--json", action="store_true", help="print only the JSON line")


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints tables, then one line of JSON.

    Raises:
        N3DError: if a step fails; see its message.
    """
    if args.repeat < 1 or (args.threads is not None and args.threads < 1):
        raise ConfigError("--repeat and --threads must be at least 1")
    figures = measure(args)
    if not args.json:
        print(figure_table(figures))
    print(json_line(figures))
    return 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Answers two questions about a frame, then measures single steps and the machine."""
    from n3d_core.backends.select import load_backend
    from n3d_core.models import find_model
    from n3d_core.n3d import N3D

    machine = measure_machine(default_device(), use_threads(args.threads))
    folder = find_model(args.model)
    read_ms, frame, questions = read_frame(args.frames)
    model = N3D.load(folder, args.backend, threads=args.threads or 0)
    model.look(frame).ground("all objects")  # warms up

    def ask() -> tuple[float, float, dict[str, float]]:
        started = time.perf_counter()
        view = model.look(frame)
        first = view.ask(questions[0])
        between = time.perf_counter()
        view.ask(questions[1])
        return (between - started) * 1e3, (time.perf_counter() - between) * 1e3, first.times

    runs = repeated(ask, args.repeat)
    stages = {name: median_of(times.get(name, 0.0) for _, _, times in runs) for name in runs[0][2]}
    own = measure_decode(model.backend, machine)
    others = [load_backend(folder, name, args.threads or 0) for name in args.decode.split(",") if name]
    decode = [own, *(measure_decode(backend, machine) for backend in others)]
    return {
        "model": folder.name,
        "backend": model.backend.name,
        "backend_reason": model.backend.reason,
        "questions": list(questions),
        "runs": len(runs),
        "stages_ms": {"read": round(read_ms, 2), **stages, "per_token": own.step_ms},
        "question_ms": median_of(first for first, _, _ in runs),
        "second_question_ms": median_of(second for _, second, _ in runs),
        "step_ms": own.step_ms,
        "tokens_per_s": own.tokens_per_s,
        "ceiling_share": own.ceiling_share,
        "decode": [asdict(speed) for speed in decode],
        "model_memory_bytes": model.memory_bytes,
        **machine_figures(machine),
    }


@dataclass(frozen=True)
class Machine:
    """A device's measured bandwidth.

    Attributes:
        device: `cpu` or the GPU's name.
        threads: CPU threads used.
        read_gb_s: bytes read per second by a sum or a matrix-vector product, whichever is faster.
        copy_gb_s: bytes read and written per second by a copy. Both are the best of several passes.
    """

    device: str
    threads: int
    read_gb_s: float
    copy_gb_s: float


def default_device() -> str:
    """`cuda` if torch can use a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def use_threads(threads: int | None) -> int:
    """Sets torch's number of CPU threads (None: all cores) and returns it."""
    import torch

    chosen = threads or os.cpu_count() or 1
    torch.set_num_threads(chosen)
    return chosen


def measure_machine(device: str = "cpu", threads: int | None = None) -> Machine:
    """Measures the memory bandwidth of `cpu` or `cuda`, with as many threads as the model runs with."""
    import torch

    before = torch.get_num_threads()
    used = use_threads(threads)
    try:
        source = torch.ones(_BYTES // 4, device=device)
        target = torch.empty_like(source)
        matrix, vector = source.view(-1, _COLUMNS), torch.ones(_COLUMNS, device=device)
        readers: tuple[Callable[[], object], ...] = (source.sum, lambda: matrix @ vector)
        read = min(_seconds(reader, device) for _ in range(_PASSES) for reader in readers)
        copied = min(_seconds(lambda: target.copy_(source), device) for _ in range(_PASSES))
    finally:
        torch.set_num_threads(before)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return Machine(name, used, round(_BYTES / read / 1e9, 2), round(2 * _BYTES / copied / 1e9, 2))


def machine_figures(machine: Machine) -> dict[str, Any]:
    """`machine` and this process's peak memory so far; on a GPU, only torch's allocations."""
    import torch

    figures: dict[str, Any] = {"machine": asdict(machine)}
    figures["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.cuda.is_available():
        figures["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    return figures


@dataclass(frozen=True)
class DecodeSpeed:
    """Single-step measurements of one backend with a context of `context` tokens.

    Attributes:
        step_ms: median time of a step.
        bytes_per_step: weights of decoder and head, and the context's keys and values.
        ceiling_share: the minimum time to read them, divided by the step time. Above 1, the model fits in the
            processor's caches.
    """

    backend: str
    context: int
    step_ms: float
    bytes_per_step: int
    tokens_per_s: float
    ceiling_share: float


def measure_decode(backend: Backend, machine: Machine, context: int = 400, steps: int = 12) -> DecodeSpeed:
    """Feeds `context` random tokens, then `steps` single ones; the median excludes the first two steps."""
    from n3d_core.network.plan import text_positions

    rng = np.random.default_rng(0)
    words = min(1000, backend.config.text.vocab_size)
    ids = rng.integers(0, words, context).tolist()
    sequence = backend.start()
    sequence.extend(ids, text_positions(0, context))
    times = []
    for place in range(context, context + steps):
        started = time.perf_counter()
        sequence.extend([int(rng.integers(0, words))], text_positions(place, 1))
        times.append(time.perf_counter() - started)
    step = statistics.median(times[2:])
    read = backend.step_bytes(context)
    ceiling = read / (machine.read_gb_s * 1e9)
    return DecodeSpeed(backend.name, context, round(step * 1e3, 3), read, round(1 / step, 2), round(ceiling / step, 3))


def read_frame(path: Path | None) -> tuple[float, Frame, tuple[str, str]]:
    """Reads a folder's first frame; returns the milliseconds that took, the frame, and two questions about it.

    The questions compare objects in view. One about an absent object ends where n3d has looked for it a second time,
    which the released scripts never do, so their times would not be of the same work.

    Raises:
        ConfigError: if the folder does not exist.
    """
    from n3d_core.geometry.frame_folder import FrameFolder

    chosen = path or Path(__file__).resolve().parents[2] / "demo" / "frames"
    if not chosen.is_dir():
        raise ConfigError(f"{chosen}: no such frame folder; name one with --frames")
    folder = FrameFolder(chosen)
    started = time.perf_counter()
    frame = folder.frame(0)
    read = (time.perf_counter() - started) * 1e3
    truth = folder.truth(0)
    compared = [question for question in truth.questions if len(question["objects"]) > 1] if truth is not None else []
    asked = [str(question["text"]) for question in compared]
    asked += ["How far is the red mug from the blue box?", "Which object is the tallest?"]
    return read, frame, (asked[0], asked[1])


def repeated(work: Callable[[], Result], repeat: int) -> list[Result]:
    """Results of up to `repeat` runs, or fewer once they have taken `LONG_ENOUGH` in total."""
    results: list[Result] = []
    begun = time.perf_counter()
    while len(results) < repeat and (not results or time.perf_counter() - begun < LONG_ENOUGH):
        results.append(work())
    return results


def median_of(values: Iterable[float]) -> float:
    """Rounds to two decimals."""
    return round(float(statistics.median(values)), 2)


def _seconds(work: Callable[[], object], device: str) -> float:
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
