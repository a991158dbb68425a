"""Runs a suite in parallel and saves the record of each finished frame, so that a killed run can resume."""

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

from n3d_core.atomic_write import write_text
from n3d_core.decoding.sampling import SamplingName
from n3d_core.errors import N3DError
from n3d_core.models import find_model
from training.evaluation.public_suite import PublicSuite
from training.evaluation.suite import FolderSuite, SceneSuite

Suite = SceneSuite | FolderSuite | PublicSuite


class EvaluationError(N3DError):
    """An evaluation cannot continue: a worker was killed, or its folder belongs to another run."""


class RecordFile:
    """The finished records of a run: a JSON-lines file whose first line identifies the run.

    Raises:
        EvaluationError: if the file belongs to another checkpoint or suite, or cannot be written.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        about = json.loads(json.dumps(about))  # as read back from a file: tuples become lists
        self.records: dict[int, dict[str, Any]] = {}
        with _written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text().split("\n") if path.exists() else []
            if len(lines) > 1:
                self._read(lines, about)
            else:  # none, or a first line that was cut short
                write_text(path, json.dumps(about) + "\n")

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
                f"{self.path}: contains another run ({lines[0]}): choose another --work folder or delete it"
            )
        whole = [line for line in lines[1:-1] if line]  # a partial last line is discarded
        for line in whole:
            entry = json.loads(line)
            self.records[entry["index"]] = entry["record"]
        if lines[-1]:
            write_text(self.path, "\n".join([lines[0], *whole]) + "\n")


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EvaluationError(
            f"{path}: cannot be written ({error}): free some space or choose another --work folder, and run again; "
            "finished frames are kept"
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
    """The records of all frames of a suite, in order.

    Args:
        checkpoint: folder or name of a model.
        workers: processes; each renders and queries with one thread.
        kept: JSON-lines file of finished records to resume from; None saves nothing.
        changes: changes to the model for this measurement, see `training.evaluation.changes`.
        sampling: see `N3D.load`.

    Raises:
        EvaluationError: if a worker was killed; finished frames are kept.
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
    """Identifies the state of a checkpoint folder: weights, generation config and calibration."""
    files = sorted(p for p in find_model(checkpoint).iterdir() if p.suffix in (".safetensors", ".json"))
    return ";".join(f"{p.name}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files)


@dataclass(frozen=True)
class _Work:
    """The settings of a run, for its processes."""

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

    torch.set_num_threads(1)  # frames are parallel across processes


def _interview(work: _Work, index: int) -> tuple[int, dict[str, Any]]:
    """The record of a frame; the first call in a process loads the model."""
    from n3d_core.n3d import N3D
    from training.evaluation.changes import changed
    from training.evaluation.interview import interview

    if not _STATE:
        model = N3D.load(work.checkpoint, work.backend, work.sampling)
        _STATE.update(model=changed(model, work.changes), suite=work.suite)
    return index, interview(_STATE["model"], _STATE["suite"][index])
