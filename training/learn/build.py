"""Builds the model of a training and its initial weights.

The network is created on the meta device, sharded if there are several processes, and then filled tensor by tensor from
the memory-mapped checkpoint: no process holds more than its share and one tensor.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.checkpoint import INDEX, WEIGHTS, stored_weights
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from training.data.sequences import SampleMaker
from training.learn.attention import fastest_kernel
from training.learn.checkpoints import TrainingError
from training.learn.config import TrainConfig
from training.learn.lora import add_adapters, fresh_adapters, released_name
from training.learn.model import TrainingModel
from training.learn.optim import fresh_weights
from training.learn.parallel import Processes, fill
from training.scenes.catalogue import CLASSES
from training.scenes.colors import COLORS

_RELEASED = "_pe"  # suffix of the architecture's name in a released N3D-VLM's config; Qwen2.5-VL has none


def model_config(folder: Path, pe_order: str, points: str) -> N3DConfig:
    """The config of the initial checkpoint folder, with the training's `pe_order` and `points`.

    Raises:
        CheckpointError: if `config.json` is missing, damaged, or of another architecture.
    """
    config = N3DConfig.from_file(folder / "config.json")
    data = json.loads((folder / "config.json").read_text())
    said = data.get("n3d") or {}
    released = any(str(name).endswith(_RELEASED) for name in data.get("architectures") or ())
    new = not said and not released  # it was trained without points
    if pe_order == "auto":
        pe_order = "aligned" if new else config.pe_order
    if points == "auto":
        points = "valid" if new else config.points
    return replace(config, pe_order=pe_order, points=points)


def has_weights(folder: Path) -> bool:
    """Whether a folder has weights, not just a config and a tokenizer."""
    return (folder / WEIGHTS).exists() or (folder / INDEX).exists()


def build_model(
    config: TrainConfig,
    network_config: N3DConfig,
    tokenizer: Tokenizer,
    maker: SampleMaker,
    processes: Processes,
) -> TrainingModel:
    """The model, sharded over the processes, with its initial weights.

    Raises:
        CheckpointError: if the weights of `config.init` do not match its config.
        TrainingError: if the device has too little memory for it.
    """
    with torch.device("meta"):
        network = N3DNetwork(network_config)
    source = _first_weights(Path(config.init), network, config.seed)
    lora = config.train == "lora"
    if lora:
        network.to(torch.bfloat16 if config.precision == "bf16" else torch.float32)
        add_adapters(network, config.lora)
    words = [
        # at the beginning of a phrase, and inside it
        [tokenizer.encode(n) + tokenizer.encode(f" {n}") for n in names]
        for names in (CLASSES, COLORS)
    ]
    model = TrainingModel(
        network,
        list(maker.bin_of),
        list(maker.fraction_of),
        (config.loss.sigma, config.loss.sigma_z),
        (words[0], words[1]) if config.loss.dense > 0 else None,
        config.loss.dense,
    )
    model.kernel = fastest_kernel(processes.device, config.precision == "bf16")
    check_memory(model, config, processes)
    if config.checkpointing:
        model.checkpoint_blocks()
    if config.compiled:
        model.compile_blocks()
    if processes.world > 1 and config.sharding == "fsdp":
        processes.shard(model, config.precision, model.open_blocks)
    network.to_empty(device=processes.device)
    model.to(processes.device)
    _fill(network, source)
    if lora:
        _fill(network, fresh_adapters(network, torch.Generator().manual_seed(config.seed)))
    if has_weights(Path(config.init)) and maker.bin_of:
        torch.nn.init.zeros_(model.number_map)  # already part of the embedding table
    return model


def check_memory(model: TrainingModel, config: TrainConfig, processes: Processes) -> None:
    """Checks that parameters, gradients, moments and average fit in the device's memory.

    Raises:
        TrainingError: if they do not.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() * p.dtype.itemsize for p in model.parameters() if not p.requires_grad)
    copies = 4 + (config.optim.ema > 0)
    needed = trained * 4 * copies + frozen
    share = needed / (processes.world if config.sharding == "fsdp" else 1)
    if processes.device.type == "cuda":
        has, where = torch.cuda.mem_get_info(processes.device)[1], str(processes.device)
    else:
        share *= int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        has, where = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine"
    if share > has:
        raise TrainingError(
            f"parameters, gradients and optimiser take {needed / 1e9:.0f} GB over {processes.world} process(es), "
            f"{share / 1e9:.0f} GB of them here, and {where} has {has / 1e9:.0f} GB: start more processes (torchrun "
            "--nproc-per-node N) with sharding: fsdp, or train adapters only (train: lora)"
        )


def _first_weights(folder: Path, network: N3DNetwork, seed: int) -> Iterator[tuple[str, Tensor]]:
    if not has_weights(folder):
        layers = network.config.text.num_hidden_layers
        return fresh_weights(network, layers, torch.Generator().manual_seed(seed))
    weights = stored_weights(folder, network)
    first = next(weights)  # compare names and shapes before adapters are added
    return itertools.chain([first], weights)


def _fill(network: N3DNetwork, values: Iterator[tuple[str, Tensor]]) -> None:
    """Copies values into a network; names may be with or without adapters."""
    own = dict(network.named_parameters())
    released = {released_name(name): parameter for name, parameter in own.items()}
    for name, value in values:
        fill(own[name] if name in own else released[name], value)
