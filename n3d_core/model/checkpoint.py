"""Reads and writes checkpoint folders: `config.json`, safetensors (one file or shards with an index), `tokenizer.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from n3d_core.errors import CheckpointError
from n3d_core.model.config import N3DConfig
from n3d_core.model.network import N3DNetwork

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def load_network(folder: str | Path, dtype: torch.dtype | None = torch.float32, device: str = "cpu") -> N3DNetwork:
    """The network of a checkpoint folder, in evaluation mode.

    Tensors are memory-mapped and moved one by one, so that the peak is the weights themselves.

    Args:
        dtype: of the parameters; None keeps the file's.

    Raises:
        CheckpointError: if a file is missing or damaged, or tensors are missing, surplus or misshapen.
    """
    root = Path(folder)
    config = N3DConfig.from_file(root / "config.json")
    with torch.device("meta"):
        network = N3DNetwork(config)
    files = _weight_files(root)
    _check_names(network, _shapes(files), root)
    for file in files:
        with _opened(file) as tensors:
            for name in tensors.keys():
                target = _target_name(name)
                if target is not None and _holds(network, target):
                    value = tensors.get_tensor(name)
                    _assign(network, target, value.to(device=device, dtype=dtype or value.dtype))
    return network.eval().requires_grad_(False)


def save_checkpoint(folder: str | Path, config: N3DConfig, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes `config.json` and `model.safetensors`, each whole or not at all. The tokenizer is the caller's."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    part = root / f"{WEIGHTS}.part"
    save_file({k: v.contiguous() for k, v in state.items()}, str(part), metadata={"format": "pt", **(metadata or {})})
    os.replace(part, root / WEIGHTS)
    text = root / "config.json.part"
    text.write_text(json.dumps(config.to_json(), indent=1) + "\n")
    os.replace(text, root / "config.json")


def _target_name(name: str) -> str | None:
    """On-disk name -> ours. Newer tools save `model.visual.` and `model.language_model.`; buffers are left out."""
    if name.endswith("rotary_emb.inv_freq"):
        return None
    for new, old in (("model.language_model.", "model."), ("model.visual.", "visual.")):
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def _weight_files(root: Path) -> list[Path]:
    index = root / INDEX
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(f"{index}: not a shard index ({type(error).__name__}: {error})") from error
        files = [root / Path(str(n)).name for n in names]
    else:
        files = [root / WEIGHTS]
    missing = [f.name for f in files if not f.exists()]
    if missing:
        pickled = [p.name for p in root.glob("*.bin")]
        hint = f"; {pickled[0]} is pickled and never read" if pickled else ""
        raise CheckpointError(f"{root}: {', '.join(missing)} missing: download the checkpoint again{hint}")
    return files


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(str(file), framework="pt") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: damaged or cut short ({error}): download it again") from error


def _shapes(files: list[Path]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with _opened(file) as tensors:
            for name in tensors.keys():
                target = _target_name(name)
                if target is None:
                    continue
                if target in shapes:
                    raise CheckpointError(f"{file}: {name} is there twice: shards of different checkpoints are mixed")
                shapes[target] = tuple(tensors.get_slice(name).get_shape())
    return shapes


def _check_names(network: N3DNetwork, found: dict[str, tuple[int, ...]], root: Path) -> None:
    """Every parameter once, of the right shape, and nothing else."""
    wanted = {n: tuple(p.shape) for n, p in network.named_parameters()}
    surplus = set(found) - set(wanted)
    if network.config.text.tie_word_embeddings:
        surplus -= {"lm_head.weight"}  # a copy of the embedding table
    problems = []
    if missing := sorted(set(wanted) - set(found)):
        problems.append(f"{len(missing)} missing, such as {missing[0]}")
    if surplus:
        problems.append(f"{len(surplus)} that the config does not know, such as {sorted(surplus)[0]}")
    wrong = sorted(n for n in set(wanted) & set(found) if wanted[n] != found[n])
    if wrong:
        problems.append(f"{wrong[0]} is {list(found[wrong[0]])} and should be {list(wanted[wrong[0]])}")
    if problems:
        kind = " (a text-only checkpoint: N3D-VLM has a vision tower)" if not any(n.startswith("visual.") for n in found) else ""
        raise CheckpointError(f"{root}: the tensors do not fit config.json{kind}: {'; '.join(problems)}")


def _holds(network: N3DNetwork, name: str) -> bool:
    return not (name == "lm_head.weight" and network.config.text.tie_word_embeddings)


def _assign(network: N3DNetwork, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(path), leaf, nn.Parameter(value, requires_grad=False))
