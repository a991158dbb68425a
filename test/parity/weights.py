"""The weights of a golden model: rebuilt from each parameter's name, as GOLDEN.md states the rule, and checked."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from test.parity.report import Report

_NORMS = ("norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight", "ln_q.weight")


def rebuilt(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """One parameter: normal numbers seeded by its name, scaled by what it is."""
    generator = np.random.Generator(np.random.PCG64(seed + zlib.crc32(name.encode())))
    values = generator.standard_normal(shape)
    if len(shape) == 1:
        values = 1 + 0.1 * values if name.endswith(_NORMS) else 0.1 * values
    elif name == "lm_head.weight":
        values = 2 * values / np.sqrt(shape[1])
    elif name != "model.embed_tokens.weight":
        values = values / np.sqrt(math.prod(shape[1:]))
    return values.astype(np.float32)


def rebuilt_network(config: N3DConfig, listing: Mapping[str, Any], report: Report, what: str) -> N3DNetwork:
    """A network with rebuilt weights, each compared with the hash that `weights.json` lists."""
    with torch.device("meta"):
        network = N3DNetwork(config)
    shapes = {name: list(p.shape) for name, p in network.named_parameters()}
    listed = listing["parameters"]
    wanted = {name: entry["shape"] for name, entry in listed.items()}
    report.same("weights", f"{what}: names and shapes", shapes, wanted)
    for name, value in _parameters(shapes, int(listing["seed"])):
        if name in listed:
            digest = hashlib.sha256(np.ascontiguousarray(value, dtype="<f4").tobytes()).hexdigest()
            report.same("weights", f"{what}: {name}", digest, listed[name]["sha256_f32le"])
        owner, _, leaf = name.rpartition(".")
        parameter = nn.Parameter(torch.from_numpy(value), requires_grad=False)
        setattr(network.get_submodule(owner), leaf, parameter)
    return network.eval()


def _parameters(shapes: Mapping[str, list[int]], seed: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, shape in shapes.items():
        yield name, rebuilt(name, tuple(shape), seed)
