"""Making shards on a Ray cluster: three stages of Ray Data, each with its own parallelism.

Ray Data streams shards through the stages, holds back readers when the networks or the disk are slower, and does a
task again whose worker died. That is safe: a shard appears whole or not at all and has the same bytes whoever makes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from n3d_core.errors import MissingDependencyError
from training.lift.lift_config import LiftConfig
from training.lift.local_run import Outcome, ShardFailure, failure
from training.lift.models.perception import Perception
from training.lift.plan import Plan
from training.lift.problems import ClusterError
from training.lift.stages import ShardWork, lift_stage, perceive_stage, read_stage


def run_ray(
    shards: list[int], plan: Plan, config: LiftConfig, address: str, workers: int, gpus: float
) -> Iterator[Outcome]:
    """Makes shards on a cluster; yields them as they are done.

    Args:
        shards: which ones.
        plan: on a file system that all nodes see, like images and output.
        config: of the run.
        address: of the cluster (`auto`, `ray://…`), or `local` for one on this machine.
        workers: most tasks of a CPU stage at once; 0 leaves it to Ray.
        gpus: GPUs a copy of the networks; used only where the configuration names networks.

    Raises:
        MissingDependencyError: if Ray is not installed.
        ClusterError: if there is no cluster at the address, or none can be started, or it breaks down.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError("--ray needs Ray: pip install 'n3d-ros[lift,lift-cluster]'") from error
    owned = not ray.is_initialized()
    if owned:
        _connect(ray, address, workers)
    try:
        data = ray.data.from_items([{"shard": s} for s in shards], override_num_blocks=len(shards))
        data = _stages(ray, data, plan, config, workers, gpus)
        for row in data.iter_rows():
            yield row["outcome"]
    except ray.exceptions.RayError as error:
        raise ClusterError(f"Ray gave the run up, whole shards are kept: {str(error)[:500]}") from error
    finally:
        if owned:
            ray.shutdown()


def _connect(ray: Any, address: str, workers: int) -> None:
    root = Path(__file__).resolve().parents[2]
    settings: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False}
    if address == "local":
        settings |= {"num_cpus": workers or None, "runtime_env": {"env_vars": {"PYTHONPATH": str(root)}}}
    else:
        modules = [str(root / "training"), str(root / "n3d_core")]
        settings = {"address": address, "log_to_driver": False, "runtime_env": {"py_modules": modules}}
    # a busy machine needs longer than Ray's own 10 to 30 s to start a node and its agents
    os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    try:
        ray.init(**settings)
    except Exception as error:  # Ray raises plain exceptions here
        raise ClusterError(
            f"Ray at {address!r} cannot be reached or started ({type(error).__name__}: {str(error)[:200]}); check the "
            "address, or run without a cluster: --workers N"
        ) from error


def _stages(ray: Any, data: Any, plan: Plan, config: LiftConfig, workers: int, gpus: float) -> Any:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = None  # a block is one shard, never cut
    limit = {"concurrency": workers} if workers else {}

    def read(row: dict[str, Any]) -> dict[str, Any]:
        return {"work": _read(int(row["shard"]), plan, config)}

    def write(row: dict[str, Any]) -> dict[str, Any]:
        return {"outcome": _write(row["work"], plan, config)}

    if not config.models.any:

        def whole(row: dict[str, Any]) -> dict[str, Any]:
            return write({"work": _Perceive(config)(read(row))["work"]})

        return data.map(whole, num_cpus=1, **limit)
    data = data.map(read, num_cpus=1, **limit)
    data = data.map(_Perceive, fn_constructor_args=(config,), concurrency=max(1, workers // 2), num_gpus=gpus)
    return data.map(write, num_cpus=1, **limit)


class _Perceive:
    """The networks of one actor."""

    def __init__(self, config: LiftConfig) -> None:
        self._perception = Perception(config.models)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        work: ShardWork | ShardFailure = row["work"]
        if isinstance(work, ShardFailure):
            return row
        try:
            return {"work": perceive_stage(work, self._perception)}
        except Exception as error:
            return {"work": failure(work.shard, error)}


def _read(shard: int, plan: Plan, config: LiftConfig) -> ShardWork | ShardFailure:
    try:
        return read_stage(shard, plan, config)
    except Exception as error:
        return failure(shard, error)


def _write(work: ShardWork | ShardFailure, plan: Plan, config: LiftConfig) -> Outcome:
    if isinstance(work, ShardFailure):
        return work
    try:
        return lift_stage(work, plan, config)
    except Exception as error:
        return failure(work.shard, error)
