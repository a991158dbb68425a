"""Makes shards on a Ray cluster.

Only shard numbers and outcomes pass through Ray; workers read images from shared storage and write shards there. Ray
Data distributes the shards and retries a task whose worker died, which is safe because a shard is written atomically
and complete ones are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from n3d_core.errors import optional
from training.lift.lift_config import LiftConfig
from training.lift.local_run import Outcome, attempt, failure
from training.lift.models.perception import Perception
from training.lift.plan import Plan
from training.lift.problems import ClusterError
from training.lift.stages import ShardWork, lift_stage, perceive_stage, read_stage

AHEAD = 4  # shards handed to a copy of the networks at once, so that it can read the next during inference


def run_ray(
    shards: list[int], plan: Plan, config: LiftConfig, address: str, workers: int, gpus: int
) -> Iterator[Outcome]:
    """Makes shards on a cluster; yields their outcomes as they finish.

    Args:
        shards: shard numbers.
        plan: the plan, on a file system shared by all nodes, like images and output.
        config: configuration of the run.
        address: address of the cluster (`auto`, `ray://…`), or `local` for one on this machine.
        workers: maximum number of parallel tasks; 0 leaves it to Ray.
        gpus: number of GPUs to use, each with its own copy of the networks; 0 for all.

    Raises:
        MissingDependencyError: if Ray is not installed.
        ClusterError: if the cluster cannot be reached or started, has too few GPUs, or fails.
    """
    with optional("--ray needs Ray", "'n3d-ros[lift,lift-cluster]'"):
        import ray
        import ray.data
    owned = not ray.is_initialized()
    if owned:
        _connect(ray, address, workers)
    context = ray.data.DataContext.get_current()  # a data set takes a copy of it
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = None  # a block is one shard and must not be split
    try:
        data = ray.data.from_items([{"shard": s} for s in shards], override_num_blocks=len(shards))
        for row in _tasks(ray, data, plan, config, workers, gpus).iter_rows():
            yield row["outcome"]
    except ray.exceptions.RayError as error:
        raise ClusterError(f"the Ray cluster failed; complete shards are kept: {str(error)[:500]}") from error
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
    # on a busy machine, a node and its agents take longer to start than Ray's default of 10 to 30 s
    os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    try:
        ray.init(**settings)
    except Exception as error:  # Ray raises bare exceptions here
        raise ClusterError(
            f"Ray at {address!r} cannot be reached or started ({type(error).__name__}: {str(error)[:200]}); check the "
            "address, or run without a cluster: --workers N"
        ) from error


def _tasks(ray: Any, data: Any, plan: Plan, config: LiftConfig, workers: int, gpus: int) -> Any:
    if not config.models.any:

        def make(row: dict[str, Any]) -> dict[str, Any]:
            return {"outcome": attempt(int(row["shard"]), plan, config, Perception(config.models))}

        return data.map(make, num_cpus=1, **({"concurrency": workers} if workers else {}))
    copies, each = copies_of_networks(ray.cluster_resources(), config.models.device, workers, gpus)
    return data.map_batches(
        _Pipeline, fn_constructor_args=(plan, config), batch_size=AHEAD, concurrency=copies, num_cpus=1, num_gpus=each
    )


def copies_of_networks(resources: Mapping[str, float], device: str, workers: int, gpus: int) -> tuple[int, int]:
    """Number of copies of the networks, and of GPUs per copy.

    Args:
        resources: the cluster's resources by Ray's names.
        device: device of the networks.

    Raises:
        ClusterError: if the cluster has too few GPUs, or GPUs are requested for networks on the CPU.
    """
    if not device.startswith("cuda"):
        if gpus:
            raise ClusterError(
                f"--gpus {gpus} needs models.device cuda; got {device!r}: set it to cuda, or remove --gpus"
            )
        return max(1, workers // 2), 0
    has = int(resources.get("GPU", 0))
    if not 0 < (gpus or has) <= has:
        raise ClusterError(
            f"models.device is {device!r} and --gpus is {gpus or 'all'}, but the cluster has {has} GPUs: use fewer, or "
            "set models.device to cpu"
        )
    return gpus or has, 1


class _Pipeline:
    """A copy of the networks, with threads that read the next shards and lift the last ones meanwhile.

    One core feeds two GPUs; decoding and lifting mostly run without the GIL.
    """

    def __init__(self, plan: Plan, config: LiftConfig) -> None:
        self._plan, self._config = plan, config
        # Ray makes only the task's own GPU visible, as the first
        device = "cuda" if config.models.device.startswith("cuda") else config.models.device
        self._perception = Perception(replace(config.models, device=device))
        self._readers, self._lifters = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Outcome]]:
        reading = [self._readers.submit(read_stage, int(s), self._plan, self._config) for s in batch["shard"]]
        outcomes = []
        for shard, ready in zip(batch["shard"], reading, strict=True):
            try:
                work = perceive_stage(ready.result(), self._perception)
            except Exception as error:
                outcomes.append(self._lifters.submit(failure, int(shard), error))
            else:
                outcomes.append(self._lifters.submit(self._lift, work))
        return {"outcome": [outcome.result() for outcome in outcomes]}

    def _lift(self, work: ShardWork) -> Outcome:
        try:
            return lift_stage(work, self._plan, self._config)
        except Exception as error:
            return failure(work.shard, error)
