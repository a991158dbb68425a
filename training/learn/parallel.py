"""The processes of a training: a single one, or many under `torchrun` or `accelerate launch`.

Both launchers set the same environment variables. Parameters, gradients and optimiser state are
sharded over the processes block by block (FSDP2, `fully_shard`), or replicated in each (DDP).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from n3d_core.errors import ConfigError
from n3d_core.network.model import DecoderLayer, VisionBlock

_PATIENCE = timedelta(hours=12)  # allows for the first process to evaluate and write while the others wait


@dataclass(frozen=True)
class Processes:
    """This process's rank, the world size and its device."""

    rank: int
    world: int
    device: torch.device
    _waiting: Any = field(default=None, repr=False)

    @classmethod
    def start(cls) -> Processes:
        """Joins the other processes, if any.

        Raises:
            ConfigError: if this machine has fewer GPUs than processes.
        """
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        device = torch.device("cpu")
        if torch.cuda.is_available():
            device = torch.device("cuda", _own_gpu())
            torch.cuda.set_device(device)
        waiting = None
        if world > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
            waiting = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        return cls(rank, world, device, waiting)

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def stop(self) -> None:
        """Leaves the process group."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def wait(self) -> None:
        """Waits for all processes, for as long as an evaluation may take."""
        if self.world > 1:
            distributed.barrier(self._waiting)

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over all processes."""
        if self.world == 1:
            return dict(values)
        table = torch.tensor(list(values.values()), dtype=torch.float64)
        distributed.all_reduce(table, group=self._waiting)
        return dict(zip(values, table.tolist(), strict=True))

    def any(self, here: bool) -> bool:
        """Whether a condition holds in any process."""
        return self.sums({"here": float(here)})["here"] > 0

    def shard(self, model: nn.Module, precision: str, together: Sequence[nn.Module] = ()) -> None:
        """Shards a model's parameters over the processes in place, one transformer block at a time.

        Args:
            together: blocks that stay gathered, with the parameters outside of blocks, for the whole step.
        """
        mesh = init_device_mesh(self.device.type, (self.world,))
        types = (torch.bfloat16, torch.float32) if precision == "bf16" else (None, None)
        policy = MixedPrecisionPolicy(*types, cast_forward_inputs=False)  # rotary tables keep their precision
        for module in model.modules():
            if isinstance(module, DecoderLayer | VisionBlock) and not any(module is m for m in together):
                fully_shard(module, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)

    @contextmanager
    def exchanging(self, model: nn.Module, now: bool) -> Iterator[None]:
        """Within it, a backward pass exchanges gradients with the other processes, or keeps them for a later one."""
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(now)
        with model.no_sync() if isinstance(model, DistributedDataParallel) and not now else nullcontext():
            yield


def _own_gpu() -> int:
    """The index of this process's GPU."""
    own, here = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    gpus = torch.cuda.device_count()
    if here <= gpus:
        return own
    if own:  # the first process says it
        raise SystemExit(1)
    raise ConfigError(
        f"{here} processes were started here, but torch sees {gpus} GPU(s): start one a GPU (torchrun --nproc-per-node "
        f"{gpus}), with an accumulate {here / gpus:g} times as large, to keep the images of a step"
    )


def fastest_precision(device: torch.device) -> str:
    """`bf16` on devices with bf16 instructions, else `fp32`: without them bf16 is a hundred times slower."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "fp32"


def whole(value: Tensor) -> Tensor:
    """A parameter or state as one tensor in host memory; every process must call it."""
    full = value.full_tensor() if isinstance(value, DTensor) else value
    return full.detach().cpu()


@torch.no_grad()
def fill(own: Tensor, value: Tensor) -> None:
    """Copies a whole tensor into a parameter or state, which may be sharded."""
    if isinstance(own, DTensor):
        value = distribute_tensor(value, own.device_mesh, own.placements, src_data_rank=None)
    own.copy_(value)
