"""Low-rank adapters (peft): trains a few percent of the parameters and freezes the rest; exporting folds them in."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from n3d_core.errors import ConfigError, optional
from training.learn.config import LoraConfig

_ADAPTER = "default"


def add_adapters(network: nn.Module, config: LoraConfig) -> None:
    """Freezes a network in place, adds adapters to its linear layers, and unfreezes what the config trains in full.

    Trained parameters become fp32, whatever the type of the frozen ones. On the meta device adapters have no values
    yet: `fresh_adapters` returns them.

    Raises:
        MissingDependencyError: if peft is not installed. ConfigError: if a name in the config matches nothing.
    """
    with optional("train: lora needs peft", "'n3d-ros[train]'"):
        from peft import LoraConfig as PeftConfig
        from peft import inject_adapter_in_model
    network.requires_grad_(False)
    wanted = PeftConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=list(config.targets)
    )
    try:
        inject_adapter_in_model(wanted, network, low_cpu_mem_usage=True)
    except ValueError as error:
        raise ConfigError(f"lora.targets {list(config.targets)}: {error}") from error
    for name in config.full:
        found = [p for n, p in network.named_parameters() if n.startswith(name)]
        if not found:
            raise ConfigError(f"lora.full: no parameter name begins with {name!r}")
        for parameter in found:
            parameter.requires_grad_(True)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def fresh_adapters(network: nn.Module, rng: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Names and initial values of the adapters: random down, zero up, so that the output is unchanged."""
    for name, parameter in network.named_parameters():
        if ".lora_A." in name:
            value = torch.empty(parameter.shape)
            nn.init.kaiming_uniform_(value, a=math.sqrt(5), generator=rng)
            yield name, value
        elif ".lora_B." in name:
            yield name, torch.zeros(parameter.shape)


def released_name(name: str) -> str | None:
    """The name of a parameter in a network without adapters; None for an adapter's own."""
    return None if ".lora_" in name else name.replace(".base_layer.", ".")


def adapters_of(network: nn.Module) -> dict[str, tuple[str, str, float]]:
    """For each weight that has an adapter, by its released name: the names of its two matrices and their scale."""
    return {
        f"{name}.weight": (
            f"{name}.lora_A.{_ADAPTER}.weight", f"{name}.lora_B.{_ADAPTER}.weight", module.scaling[_ADAPTER]
        )
        for name, module in network.named_modules()
        if hasattr(module, "lora_A") and _ADAPTER in module.lora_A
    }  # fmt: skip
