"""Checkpoint folders: `config.json` and memory-mapped safetensors, one file or shards. Pickles are never read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from n3d_core.errors import CheckpointError, reading
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_NUMBER_TYPES = ("BF16", "F16", "F32")
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Stored:
    """The file that holds one tensor, and its shape."""

    file: Path
    shape: tuple[int, ...]


class Shards:
    """All tensors of a folder by the names on disk.

    Attributes:
        root: the folder.
        tensors: name -> where it is.

    Raises:
        CheckpointError: if a file is missing or damaged, or the files do not match the index.
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
                f"{root / index[lost[0]]}: lacks {lost[0]}, which {INDEX} lists there ({len(lost)} such tensors): "
                "shards of different checkpoints are mixed or renamed; download the checkpoint again"
            )

    @property
    def numbers(self) -> int:
        """Total number of values in all tensors."""
        return sum(math.prod(stored.shape) for stored in self.tensors.values())

    def read(self, name: str) -> Tensor:
        """One tensor, as a view of the memory-mapped file.

        The file is reopened for each tensor, so that the pages of a converted tensor are released.
        """
        stored = self.tensors[name]
        with _opened(stored.file) as tensors:
            value: Tensor = tensors.get_tensor(name)
        return value

    def _add(self, name: str, stored: Stored, index: Mapping[str, str] | None) -> None:
        if index is not None and index.get(name) != stored.file.name:
            where = f"puts it in {index[name]}" if name in index else "does not list it"
            raise CheckpointError(
                f"{stored.file}: it holds {name}, but {INDEX} {where}: shards of different checkpoints are mixed or "
                "renamed; download the checkpoint again"
            )
        self.tensors[name] = stored


def _read_index(root: Path) -> dict[str, str] | None:
    path = root / INDEX
    if not path.exists():
        return None
    with reading(path, "a shard index", CheckpointError):
        index = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not index or not all(isinstance(v, str) and Path(v).name == v for v in index.values()):
            raise ValueError("weight_map must name files of this folder")
        return dict(index)


def _check_present(root: Path, files: list[Path]) -> None:
    missing = [file.name for file in files if not file.exists()]
    if not missing:
        return
    hint = "download the checkpoint again"
    if (root / "adapter_config.json").exists():
        hint = "this is a LoRA adapter; merge it into its base model first"
    elif missing == [WEIGHTS] and list(root.glob("model-*-of-*.safetensors")):
        hint = f"it has the shards but no {INDEX}; download the checkpoint again"
    elif pickled := sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in root.glob(pattern)):
        hint = f"{pickled[0]} is a pickle, which is never read; convert it to safetensors or download that version"
    raise CheckpointError(f"{root}: {', '.join(missing[:4])} missing ({len(missing)} of {len(files)} files): {hint}")


def _listed(file: Path) -> dict[str, Stored]:
    found = {}
    with _opened(file) as tensors:
        for name in tensors.keys():  # noqa: SIM118 - not a dict
            view = tensors.get_slice(name)
            if view.get_dtype() not in _NUMBER_TYPES:
                raise CheckpointError(
                    f"{file}: {name} is {view.get_dtype()}: the type must be one of {', '.join(_NUMBER_TYPES)}; "
                    "checkpoints quantised by another tool are not supported"
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
            raise CheckpointError(f"{file}: a Git LFS pointer, not the file itself: run `git lfs pull`") from error
        raise CheckpointError(f"{file}: damaged or cut short ({error}): download it again") from error


def _is_pointer(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return content.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


_HEAD = "lm_head.weight"
# The hub and this package use the left-hand names; newer tools save the right-hand ones, after their modules.
_SPELLINGS = (("model.", "model.language_model."), ("visual.", "model.visual."))


def load_network(folder: str | Path, dtype: torch.dtype | None = torch.float32, device: str = "cpu") -> N3DNetwork:
    """The network of a checkpoint folder, in evaluation mode.

    Tensors are memory-mapped and moved one by one, so the peak memory is the weights plus the largest tensor. On the
    CPU, in the file's own type, they stay in the mapped file.

    Args:
        dtype: type of the parameters (see `N3DNetwork.type_of` for exceptions); None keeps the file's.

    Raises:
        CheckpointError: if a file is missing or damaged, or tensors are missing, unexpected or misshapen.
    """
    root = Path(folder)
    config = N3DConfig.from_file(root / "config.json")
    with torch.device("meta"):
        network = N3DNetwork(config)
    for name, value in stored_weights(root, network):
        wanted = value.dtype if dtype is None else network.type_of(name, dtype)
        _assign(network, name, value.to(device=device, dtype=wanted))
    return network.eval().requires_grad_(False)


def load_tensor(folder: str | Path, name: str) -> Tensor:
    """One parameter of a checkpoint folder by its name in the network, memory-mapped in the file's own type.

    Raises:
        CheckpointError: if a file is missing or damaged, or the tensor is missing.
    """
    shards = Shards(Path(folder))
    sources = _sources(shards)
    if name not in sources:
        raise CheckpointError(f"{folder}: {name} is missing; download the checkpoint again")
    return shards.read(sources[name])


def stored_weights(folder: str | Path, network: N3DNetwork) -> Iterator[tuple[str, Tensor]]:
    """Yields a checkpoint folder's tensors by their names in the network, memory-mapped in the file's own type.

    Raises:
        CheckpointError: before the first tensor, as `load_network` does.
    """
    shards = Shards(Path(folder))
    sources = _sources(shards)
    _check_names(network, shards, sources)
    for name in [name for name, _ in network.named_parameters()]:
        yield name, shards.read(sources[name])


def _sources(shards: Shards) -> dict[str, str]:
    """Our name of each tensor -> its name on disk."""
    sources: dict[str, str] = {}
    for name in shards.tensors:
        ours = _our_name(name)
        if ours is None:
            continue
        if ours in sources:
            raise CheckpointError(
                f"{shards.root}: {sources[ours]} and {name} both map to {ours}: different checkpoints are mixed"
            )
        sources[ours] = name
    return sources


def _our_name(name: str) -> str | None:
    """Name on disk -> ours; None for what older tools saved and no longer matters."""
    if name.endswith("rotary_emb.inv_freq"):
        return None
    for ours, newer in _SPELLINGS:
        if name.startswith(newer):
            return ours + name.removeprefix(newer)
    return name


def _check_names(network: N3DNetwork, shards: Shards, sources: Mapping[str, str]) -> None:
    """Checks that every parameter is there once, in the right shape, and nothing else is."""
    wanted = {name: tuple(p.shape) for name, p in network.named_parameters()}
    tied = {_HEAD} if network.config.text.tie_word_embeddings else set()  # a copy of the embedding table
    missing = sorted(wanted.keys() - sources.keys())
    surplus = sorted(sources.keys() - wanted.keys() - tied)
    shapes = {name: shards.tensors[sources[name]].shape for name in wanted.keys() & sources.keys()}
    misshapen = sorted(name for name, shape in shapes.items() if shape != wanted[name])
    problems = [f"{len(missing)} missing: {_first_few(missing)}"] if missing else []
    if surplus:
        problems.append(f"{len(surplus)} not in the configuration: {_first_few(surplus)}")
    if misshapen:
        as_seen = [f"{n} must have shape {list(wanted[n])}, got {list(shapes[n])}" for n in misshapen]
        problems.append(f"{len(misshapen)} misshapen: {_first_few(as_seen)}")
    if not problems:
        return
    text_only = not any(name.startswith("visual.") for name in sources)
    kind = " (no vision tower: text-only models are not supported)" if text_only else ""
    raise CheckpointError(f"{shards.root}: the tensors do not match config.json{kind}: {'; '.join(problems)}")


def _first_few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _assign(network: N3DNetwork, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(owner), leaf, nn.Parameter(value, requires_grad=False))
