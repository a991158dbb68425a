"""Low-rank adapters (peft): a few percent of the parameters learn beside frozen ones; exporting folds them in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from n3d_core.errors import ConfigError, MissingDependencyError
from training.learn.config import LoraConfig

_ADAPTER = "default"


def add_adapters(network: nn.Module, config: LoraConfig) -> None:
    """Freezes a network in place, puts adapters beside its linear layers, and thaws what the config trains in full.

    Raises:
        MissingDependencyError: if peft is not installed. ConfigError: if a name of the config fits nothing.
    """
    try:
        from peft import LoraConfig as PeftConfig
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise MissingDependencyError("train: lora needs peft: pip install 'n3d_ros[train]'") from error
    network.requires_grad_(False)
    wanted = PeftConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=list(config.targets)
    )
    try:
        inject_adapter_in_model(wanted, network)
    except ValueError as error:
        raise ConfigError(f"lora.targets {list(config.targets)}: {error}") from error
    for name in config.full:
        found = [p for n, p in network.named_parameters() if n.startswith(name)]
        if not found:
            raise ConfigError(f"lora.full names {name!r}: no parameter's name begins so")
        for parameter in found:
            parameter.requires_grad_(True)


def merged(network: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters under the names of a network without adapters, the adapters added to what they stand beside.

    Args:
        network: with adapters (for their scale), or without: then nothing changes.
        parameters: of the network, by name.
    """
    out: dict[str, Tensor] = {}
    for name, value in parameters.items():
        if ".lora_" not in name:
            out[name.replace(".base_layer.", ".")] = value
    for name, module in network.named_modules():
        if hasattr(module, "lora_A") and _ADAPTER in module.lora_A:
            down, up = (parameters[f"{name}.lora_{side}.{_ADAPTER}.weight"].float() for side in "AB")
            key = f"{name}.weight"
            delta = module.scaling[_ADAPTER] * (up @ down)
            out[key] = (out[key].float() + delta).to(out[key].dtype)
    return {k: v.contiguous() if isinstance(v, torch.Tensor) else v for k, v in out.items()}
