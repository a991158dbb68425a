"""Writes a training's checkpoints: the state to resume from, and the model in released form.

Files are written atomically, tensor by tensor: the writing process holds one whole tensor at a time, the others their
shards.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from n3d_core.atomic_write import atomic_write, write_text
from n3d_core.decoding.calibration import CALIBRATION
from n3d_core.errors import N3DError
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.checkpoint import WEIGHTS
from n3d_core.network.config import N3DConfig
from training.learn.parallel import Processes, whole
from training.scenes.vocabulary import VOCABULARY

RESUME = "resume.safetensors"
TOKENIZER = "tokenizer"  # key of the digest in a file's metadata
COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", VOCABULARY)
"""Files of a checkpoint folder that do not depend on the weights; `calibration.json` does."""

ALONE = Processes(0, 1, torch.device("cpu"))
_TYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64",
          torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL"}  # fmt: skip


class TrainingError(N3DError):
    """A training cannot continue: its loss is not finite, a loader was killed, or a file cannot be written or read."""


@dataclass(frozen=True)
class Piece:
    """One tensor of a file.

    Attributes:
        shape, dtype: of the whole.
        make: returns the whole tensor in host memory; every process calls it.
    """

    shape: Sequence[int]
    dtype: torch.dtype
    make: Callable[[], Tensor]

    @classmethod
    def of(cls, value: Tensor) -> Piece:
        """A tensor, gathered if it is sharded."""
        return cls(tuple(value.shape), value.dtype, lambda: whole(value))

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_pieces(
    path: Path, pieces: Mapping[str, Piece], metadata: Mapping[str, str], processes: Processes = ALONE
) -> None:
    """Writes a safetensors file; every process takes part, the first one writes.

    Raises:
        TrainingError: in every process, if the disk is full or the file cannot be written; an old file stays.
    """
    # wide types first, to align each tensor in the file
    pieces = dict(sorted(pieces.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
    error: OSError | None = None
    if processes.first:
        needed, free = sum(p.size for p in pieces.values()), shutil.disk_usage(path.parent).free
        if needed > free:
            error = OSError(f"{needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free")
    if not processes.any(error is not None):
        if not processes.first:
            for piece in pieces.values():
                piece.make()
        else:
            error = _written(path, pieces, metadata)
    if processes.any(error is not None):
        raise TrainingError(
            f"{path}: cannot be written ({error or 'by the first process'}); the last checkpoint is kept: "
            "free the disk and run again"
        )


def _written(path: Path, pieces: Mapping[str, Piece], metadata: Mapping[str, str]) -> OSError | None:
    """Writes the file; returns the error, if any. Makes every piece even then, as the other processes wait for it."""
    left = iter(pieces.values())
    try:
        with atomic_write(path) as part, part.open("wb") as file:
            _write_header(file, pieces, metadata)
            for piece in left:
                file.write(piece.make().contiguous().reshape(-1).view(torch.uint8).numpy())
    except OSError as error:
        for piece in left:
            piece.make()
        return error
    return None


def _write_header(file: BinaryIO, pieces: Mapping[str, Piece], metadata: Mapping[str, str]) -> None:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, piece in pieces.items():
        start, end = end, end + piece.size
        header[name] = {"dtype": _TYPES[piece.dtype], "shape": list(piece.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)


class ResumeFile:
    """The state of a training at one step, read by tensor: `model/NAME`, `average/NAME` and `optimiser/state.NAME.KEY`.

    Raises:
        TrainingError: if the file is missing, cut short or of another kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = safe_open(str(path), framework="pt")
            about = self._file.metadata() or {}
            self.step = int(about["step"])
            self.config: dict[str, Any] = json.loads(about.get("config", "{}"))
            self.about: dict[str, Any] = json.loads(about.get("about", "{}"))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{path}: not the state of a training, or cut short ({error}): restore it, or choose another output "
                "folder"
            ) from error
        self.names = set(self._file.keys())

    def shape(self, name: str) -> list[int] | None:
        """The shape of a tensor; None if it is missing."""
        return list(self._file.get_slice(name).get_shape()) if name in self.names else None

    def read(self, name: str) -> Tensor:
        """One whole tensor.

        Raises:
            TrainingError: if it is not there.
        """
        if name not in self.names:
            raise TrainingError(
                f"{self.path}: does not contain {name}: it is from another kind of training or an earlier version; "
                f"use a new output folder, with start_from: {self.path} for the weights"
            )
        value: Tensor = self._file.get_tensor(name)
        return value


def export(
    folder: Path,
    config: N3DConfig,
    pieces: Mapping[str, Piece],
    source: Path,
    processes: Processes = ALONE,
) -> None:
    """Writes a checkpoint folder in released form, with the tokenizer of the initial checkpoint folder.

    Raises:
        TrainingError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = {TOKENIZER: tokenizer_digest(source)} if (source / COMPANIONS[0]).exists() else {}
    write_pieces(folder / WEIGHTS, pieces, {"format": "pt"} | known, processes)
    if not processes.first:
        return
    try:
        write_text(folder / "config.json", json.dumps(config.to_json(), indent=1) + "\n")
        bring_along(COMPANIONS, source, folder)
        (folder / CALIBRATION).unlink(missing_ok=True)  # fitted to other weights, so its scores would be wrong
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written ({error}): free the disk and run again") from error


def tokenizer_digest(folder: Path) -> str:
    """A digest of the tokens and ids of a checkpoint folder's tokenizer; equal for files that differ in form alone.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    tokens = Tokenizer(folder / "tokenizer.json").tokens
    return hashlib.sha256(json.dumps(sorted(tokens.items())).encode()).hexdigest()[:16]


def check_tokenizer(path: Path, folder: Path) -> None:
    """Checks that the weights in a file were trained with the tokenizer of a checkpoint folder, if the file tells.

    Raises:
        TrainingError: if they were trained with another tokenizer.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            known = (file.metadata() or {}).get(TOKENIZER)
    except (OSError, SafetensorError):
        return  # missing or damaged: whoever reads the weights says so
    if known and known != tokenizer_digest(folder):
        raise TrainingError(
            f"{path}: its weights were trained with another tokenizer than {folder / 'tokenizer.json'}, whose ids mean "
            "other words: put the tokenizer back that the weights came with, or start from weights of this one"
        )


def bring_along(names: Sequence[str], source: Path, target: Path) -> None:
    """Copies files of a folder; removes from the target those that the folder lacks, left by another model."""
    for name in names:
        if (source / name).exists():
            with atomic_write(target / name) as part:
                shutil.copyfile(source / name, part)
        else:
            (target / name).unlink(missing_ok=True)
