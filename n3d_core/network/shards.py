"""The safetensors files of a checkpoint folder: one, or shards with an index. Memory-mapped; pickles are never read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from n3d_core.errors import CheckpointError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_NUMBER_TYPES = ("BF16", "F16", "F32")
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Stored:
    """Where one tensor is, and its shape."""

    file: Path
    shape: tuple[int, ...]


class Shards:
    """All tensors of a folder by the names on disk.

    Attributes:
        root: the folder.
        tensors: name -> where it is.

    Raises:
        CheckpointError: if a file is missing or damaged, or the files are not those that the index describes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        index = None if (root / WEIGHTS).exists() else _read_index(root)
        files = [root / WEIGHTS] if index is None else sorted({root / name for name in index.values()})
        _check_present(root, files)
        self.tensors: dict[str, Stored] = {}
        for file in files:
            for name, stored in _listed(file).items():
                self._add(name, stored, index)
        if index is not None and (lost := sorted(set(index) - set(self.tensors))):
            raise CheckpointError(
                f"{root / index[lost[0]]}: {lost[0]} is not in it, as {INDEX} says it is ({len(lost)} such tensors): "
                "shards of different checkpoints are mixed up, or renamed; download the checkpoint again"
            )

    def read(self, name: str) -> Tensor:
        """One tensor, as a view of the memory-mapped file.

        The file is opened for each tensor anew, so that pages of a tensor that was converted are given back.
        """
        stored = self.tensors[name]
        with _opened(stored.file) as tensors:
            value: Tensor = tensors.get_tensor(name)
        return value

    def _add(self, name: str, stored: Stored, index: Mapping[str, str] | None) -> None:
        if index is not None and index.get(name) != stored.file.name:
            where = f"puts it in {index[name]}" if name in index else "does not know it"
            raise CheckpointError(
                f"{stored.file}: {name} is in it, and {INDEX} {where}: shards of different checkpoints are mixed up, "
                "or renamed; download the checkpoint again"
            )
        self.tensors[name] = stored


def _read_index(root: Path) -> dict[str, str] | None:
    path = root / INDEX
    if not path.exists():
        return None
    try:
        index = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not index or not all(isinstance(v, str) and Path(v).name == v for v in index.values()):
            raise ValueError("weight_map must name files of this folder")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: not a shard index ({type(error).__name__}: {error})") from error
    return dict(index)


def _check_present(root: Path, files: list[Path]) -> None:
    missing = [file.name for file in files if not file.exists()]
    if not missing:
        return
    hint = "download the checkpoint again"
    if (root / "adapter_config.json").exists():
        hint = "this is a LoRA adapter; merge it into its base model first"
    elif missing == [WEIGHTS] and list(root.glob("model-*-of-*.safetensors")):
        hint = f"its shards are there, but {INDEX} is not; download the checkpoint again"
    elif pickled := sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in root.glob(pattern)):
        hint = f"{pickled[0]} is a pickle, which is never read; convert it to safetensors or download that form"
    raise CheckpointError(f"{root}: {', '.join(missing[:4])} missing ({len(missing)} of {len(files)} files): {hint}")


def _listed(file: Path) -> dict[str, Stored]:
    found = {}
    with _opened(file) as tensors:
        for name in tensors.keys():  # noqa: SIM118 - not a dict
            view = tensors.get_slice(name)
            if view.get_dtype() not in _NUMBER_TYPES:
                raise CheckpointError(
                    f"{file}: {name} is {view.get_dtype()}: {', '.join(_NUMBER_TYPES)} are read; a checkpoint that was "
                    "quantised by another tool cannot be used"
                )
            found[name] = Stored(file, tuple(view.get_shape()))
    return found


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(str(file), framework="pt") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        if _is_pointer(file):
            raise CheckpointError(f"{file}: a Git LFS pointer and not the file itself: run `git lfs pull`") from error
        raise CheckpointError(f"{file}: damaged or cut short ({error}): download it again") from error


def _is_pointer(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return content.read(len(_POINTER)) == _POINTER
    except OSError:
        return False
