"""Reports of a running training: a line on the terminal and a JSON line on disk each."""

from __future__ import annotations

import errno
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from n3d_core.errors import optional
from training.learn.checkpoints import TrainingError

_LEAST_FREE = 1 << 13  # bytes; more than TensorBoard buffers


class Progress:
    """Averages metrics between reports and prints samples/s, tokens/s and the time left."""

    def __init__(self, folder: Path, steps: int, tensorboard: bool = False) -> None:
        self.path, self.steps = folder / "metrics.jsonl", steps
        self._board = _board(folder) if tensorboard else None
        self._sums: dict[str, float] = {}
        self._count, self._samples, self._tokens = 0, 0, 0
        self._since = time.monotonic()

    def add(self, metrics: dict[str, float], samples: int, tokens: int) -> None:
        """Counts one step."""
        for key, value in metrics.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._count += 1
        self._samples += samples
        self._tokens += tokens

    def report(self, step: int) -> dict[str, float]:
        """Prints and writes the averages since the last report, and resets them."""
        seconds = time.monotonic() - self._since
        row = {k: round(v / self._count, 5) for k, v in self._sums.items()}
        row |= {
            "step": step,
            "images": step * self._samples // self._count,
            "samples_per_s": round(self._samples / seconds, 2),
            "tokens_per_s": round(self._tokens / seconds),
        }
        left = (self.steps - step) * seconds / max(1, self._count)
        shown = " ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("step", "images"))
        print(f"step {step}/{self.steps} {shown} left {left / 60:.0f} min", file=sys.stderr, flush=True)
        self.write(row)
        self._sums, self._count, self._samples, self._tokens = {}, 0, 0, 0
        self._since = time.monotonic()
        return row

    def write(self, row: dict[str, float]) -> None:
        """Adds a row of metrics, `step` among them.

        Raises:
            TrainingError: if the disk is full.
        """
        try:
            _check_space(self.path)
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            if self._board is not None:
                for key in row.keys() - {"step"}:
                    self._board.add_scalar(key, row[key], row["step"])
                self._board.flush()
        except OSError as error:
            raise TrainingError(
                f"{self.path}: cannot be written ({error}); the last checkpoint is kept: free the disk and run again"
            ) from error


def _check_space(path: Path) -> None:
    """Raises OSError on a full disk, before TensorBoard's thread meets it and prints a traceback."""
    if shutil.disk_usage(path.parent).free < _LEAST_FREE:
        raise OSError(errno.ENOSPC, "no space left")


def _board(folder: Path) -> Any:
    _check_space(folder / "events")
    with optional("tensorboard: true needs TensorBoard", "'n3d-ros[train]'"):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder))
