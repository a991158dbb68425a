"""The processes of one training: one alone, or many under `torchrun` or `accelerate launch` with sharded parameters.

Both launchers say who is who through the same environment variables. Parameters, gradients and optimiser state are
sharded over the processes block by block (FSDP2, `fully_shard`), or kept whole in each (DDP); checkpoints are written
whole by the first process in the same form whatever the number of processes, so a training may go on with another
number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from n3d_core.network.decoder import DecoderLayer
from n3d_core.network.vision import VisionBlock


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many, and its device."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def start(cls) -> Processes:
        """Joins the others, if there are any."""
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        device = torch.device("cpu")
        if torch.cuda.is_available():
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(device)
        if world > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(rank, world, device)

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def stop(self) -> None:
        """Leaves the others."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier()

    def spread(self, model: nn.Module, sharding: str, precision: str, together: Sequence[nn.Module] = ()) -> nn.Module:
        """What to call instead of a model so that all processes train it as one; the model itself for one process.

        Args:
            sharding: `fsdp` shards the model in place, each transformer block for itself; `ddp` keeps it whole.
            together: blocks that are gathered with what belongs to no block, for the whole of a step.
        """
        if self.world == 1:
            return model
        if sharding == "ddp":
            return DistributedDataParallel(model)
        mesh = init_device_mesh(self.device.type, (self.world,))
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if precision == "bf16" else MixedPrecisionPolicy()
        for module in model.modules():
            if isinstance(module, DecoderLayer | VisionBlock) and not any(module is m for m in together):
                fully_shard(module, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
        return model

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Means over all processes."""
        if self.world == 1:
            return dict(values)
        table = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(table)
        return dict(zip(values, (table / self.world).tolist(), strict=True))


class _AttentionInFull(TorchFunctionMode):
    """Attention in fp32: torch's fused CPU kernel is twice as fast in it as in bf16 (torch 2.13)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            return func(*(a.float() for a in args), **(kwargs or {}))


def fastest_precision(device: torch.device) -> str:
    """`bf16` where a device has instructions for it, else `fp32`: without them bf16 takes a hundred times longer."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "fp32"


@contextmanager
def half_precision(device: torch.device, enabled: bool) -> Iterator[None]:
    """Matrix products in bf16; what needs the range or the digits stays fp32."""
    attention = _AttentionInFull() if enabled and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled), attention:
        yield


def whole(value: Tensor) -> Tensor:
    """A parameter or state as one tensor in host memory; every process must ask for it."""
    full = value.full_tensor() if isinstance(value, DTensor) else value
    return full.detach().cpu().clone()


def sharded_like(value: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor on the parameter's device, sharded as the parameter is."""
    value = value.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value
