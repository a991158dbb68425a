"""Runs a suite over processes and keeps each frame's record as it is finished, so that a killed run goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from n3d_core.decoding.sampling import SamplingName
from n3d_core.errors import N3DError
from n3d_core.models import find_model
from training.evaluation.public_suite import PublicSuite
from training.evaluation.suite import FolderSuite, SceneSuite

Suite = SceneSuite | FolderSuite | PublicSuite


class EvaluationError(N3DError):
    """An evaluation cannot go on: a worker was killed, or its folder belongs to another run."""


class RecordFile:
    """The finished records of one run: a JSON-lines file whose first line says what the run is.

    Raises:
        EvaluationError: if the file belongs to another checkpoint or suite, or cannot be written.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        about = json.loads(json.dumps(about))  # as a file gives it back: tuples become lists
        self.records: dict[int, dict[str, Any]] = {}
        with _written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text().split("\n") if path.exists() else []
            if len(lines) > 1:
                self._read(lines, about)
            else:  # none, or a first line that was cut short
                path.write_text(json.dumps(about) + "\n")

    def add(self, index: int, record: dict[str, Any]) -> None:
        """Keeps the record of frame `index`.

        Raises:
            EvaluationError: if it cannot be written; what was written before stays.
        """
        self.records[index] = record
        with _written(self.path), self.path.open("a") as file:
            file.write(json.dumps({"index": index, "record": record}) + "\n")

    def _read(self, lines: list[str], about: dict[str, Any]) -> None:
        if json.loads(lines[0]) != about:
            raise EvaluationError(
                f"{self.path}: holds another run ({lines[0]}): choose another --work folder or delete it"
            )
        whole = [line for line in lines[1:-1] if line]  # what follows the last newline was cut short
        for line in whole:
            entry = json.loads(line)
            self.records[entry["index"]] = entry["record"]
        if lines[-1]:
            self.path.write_text("\n".join([lines[0], *whole]) + "\n")


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EvaluationError(
            f"{path}: cannot be written ({error}): make room, or choose another --work folder, and run again; what is "
            "finished is kept"
        ) from error


def run_suite(
    checkpoint: str | Path,
    suite: Suite,
    workers: int,
    backend: str = "torch",
    kept: Path | None = None,
    changes: tuple[str, ...] = (),
    sampling: SamplingName = "checkpoint",
) -> list[dict[str, Any]]:
    """The records of all frames of a suite, in their order.

    Args:
        checkpoint: folder or name of a model.
        workers: processes; each renders, and asks with one thread.
        kept: JSON-lines file of finished records to go on from and add to; None keeps nothing.
        changes: how the model is measured otherwise than it is used, see `training.evaluation.changes`.
        sampling: how it is decoded, see `N3D.load`.

    Raises:
        EvaluationError: if a worker was killed; what is finished is kept.
    """
    file = None if kept is None else RecordFile(kept, {"checkpoint": fingerprint(checkpoint), **suite.describe()})
    done = {i: r for i, r in file.records.items() if i < len(suite)} if file else {}
    left = [i for i in range(len(suite)) if i not in done]
    asked = _asked(_Work(checkpoint, suite, backend, changes, sampling), workers, left)
    for index, record in tqdm(asked, total=len(left), unit="frame", file=sys.stderr):
        done[index] = record
        if file:
            file.add(index, record)
    return [done[i] for i in sorted(done)]


def fingerprint(checkpoint: str | Path) -> str:
    """Tells one state of a checkpoint folder from another: weights, way of decoding and calibration."""
    files = sorted(p for p in find_model(checkpoint).iterdir() if p.suffix in (".safetensors", ".json"))
    return ";".join(f"{p.name}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files)


@dataclass(frozen=True)
class _Work:
    """What the processes of a run are told."""

    checkpoint: str | Path
    suite: Suite
    backend: str
    changes: tuple[str, ...]
    sampling: SamplingName


def _asked(work: _Work, workers: int, indices: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    _STATE.clear()
    if workers <= 1:
        yield from (_interview(work, i) for i in indices)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        futures = [pool.submit(_interview, work, i) for i in indices]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise EvaluationError(
                "an evaluation process was killed (out of memory?): finished frames are kept; run again with "
                "fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_STATE: dict[str, Any] = {}  # of one worker process


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # one frame a process is the parallel part


def _interview(work: _Work, index: int) -> tuple[int, dict[str, Any]]:
    """The record of one frame; the first one of a process loads the model."""
    from n3d_core.n3d import N3D
    from training.evaluation.changes import changed
    from training.evaluation.interview import interview

    if not _STATE:
        model = N3D.load(work.checkpoint, work.backend, work.sampling)
        _STATE.update(model=changed(model, work.changes), suite=work.suite)
    return index, interview(_STATE["model"], _STATE["suite"][index])
