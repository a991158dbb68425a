"""Reads and writes checkpoint folders: `config.json` and safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from n3d_core.atomic_write import atomic_write
from n3d_core.errors import CheckpointError
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from n3d_core.network.shards import WEIGHTS, Shards

_HEAD = "lm_head.weight"
# Newer tools save the right-hand spelling, which is that of their modules; the left-hand one is the hub's and ours.
_SPELLINGS = (("model.", "model.language_model."), ("visual.", "model.visual."))


def load_network(folder: str | Path, dtype: torch.dtype | None = torch.float32, device: str = "cpu") -> N3DNetwork:
    """The network of a checkpoint folder, in evaluation mode.

    Tensors are memory-mapped and moved one by one, so that the peak is the weights and the largest of them; on the CPU
    and in the file's own type they stay in the mapped file.

    Args:
        dtype: of the parameters, but see `N3DNetwork.type_of`; None keeps the file's.

    Raises:
        CheckpointError: if a file is missing or damaged, or tensors are missing, surplus or misshapen.
    """
    root = Path(folder)
    config = N3DConfig.from_file(root / "config.json")
    with torch.device("meta"):
        network = N3DNetwork(config)
    shards = Shards(root)
    sources = _sources(shards)
    _check_names(network, shards, sources)
    for name in [name for name, _ in network.named_parameters()]:
        value = shards.read(sources[name])
        wanted = value.dtype if dtype is None else network.type_of(name, dtype)
        _assign(network, name, value.to(device=device, dtype=wanted))
    return network.eval().requires_grad_(False)


def save_checkpoint(
    folder: str | Path, config: N3DConfig, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes `config.json` and `model.safetensors`, each whole or not at all. The tokenizer is the caller's."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    whole = {k: v.contiguous() for k, v in state.items()}
    with atomic_write(root / WEIGHTS) as part:
        save_file(whole, str(part), metadata={"format": "pt", **(metadata or {})})
    with atomic_write(root / "config.json") as part:
        part.write_text(json.dumps(config.to_json(), indent=1) + "\n")


def _sources(shards: Shards) -> dict[str, str]:
    """Our name of each tensor -> its name on disk."""
    sources: dict[str, str] = {}
    for name in shards.tensors:
        ours = _our_name(name)
        if ours is None:
            continue
        if ours in sources:
            raise CheckpointError(
                f"{shards.root}: {sources[ours]} and {name} are both {ours}: different checkpoints are mixed up"
            )
        sources[ours] = name
    return sources


def _our_name(name: str) -> str | None:
    """Name on disk -> ours; None for what older tools saved and nobody reads."""
    if name.endswith("rotary_emb.inv_freq"):
        return None
    for ours, newer in _SPELLINGS:
        if name.startswith(newer):
            return ours + name.removeprefix(newer)
    return name


def _check_names(network: N3DNetwork, shards: Shards, sources: Mapping[str, str]) -> None:
    """Every parameter once, of the right shape, and nothing else."""
    wanted = {name: tuple(p.shape) for name, p in network.named_parameters()}
    tied = {_HEAD} if network.config.text.tie_word_embeddings else set()  # a copy of the embedding table
    missing = sorted(wanted.keys() - sources.keys())
    surplus = sorted(sources.keys() - wanted.keys() - tied)
    shapes = {name: shards.tensors[sources[name]].shape for name in wanted.keys() & sources.keys()}
    misshapen = sorted(name for name, shape in shapes.items() if shape != wanted[name])
    problems = [f"{len(missing)} missing: {_first_few(missing)}"] if missing else []
    if surplus:
        problems.append(f"{len(surplus)} that the configuration does not know: {_first_few(surplus)}")
    if misshapen:
        as_seen = [f"{n} is {list(shapes[n])} and should be {list(wanted[n])}" for n in misshapen]
        problems.append(f"{len(misshapen)} misshapen: {_first_few(as_seen)}")
    if not problems:
        return
    text_only = not any(name.startswith("visual.") for name in sources)
    kind = " (it has no vision tower: a text-only model cannot be used)" if text_only else ""
    raise CheckpointError(f"{shards.root}: its tensors are not those of its config.json{kind}: {'; '.join(problems)}")


def _first_few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _assign(network: N3DNetwork, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(owner), leaf, nn.Parameter(value, requires_grad=False))
