"""Makes shards on one machine, in this process or in several worker processes that may die."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

from n3d_core.errors import N3DError
from training.entry.command import is_disk_full
from training.lift.lift_config import LiftConfig
from training.lift.models.perception import Perception
from training.lift.plan import Plan
from training.lift.shards import ShardSummary
from training.lift.stages import make_shard

MOST_ATTEMPTS = 3


@dataclass(frozen=True)
class ShardFailure:
    """A shard that could not be written, with the reason."""

    shard: int
    error: str
    disk_full: bool = False


Outcome = ShardSummary | ShardFailure


def run_here(shards: list[int], plan: Plan, config: LiftConfig) -> Iterator[Outcome]:
    """Makes shards one by one in this process."""
    perception = Perception(config.models)
    for shard in shards:
        yield attempt(shard, plan, config, perception)


def attempt(shard: int, plan: Plan, config: LiftConfig, perception: Perception) -> Outcome:
    """Makes a shard; any error becomes a `ShardFailure`, so that the run continues."""
    try:
        return make_shard(shard, plan, config, perception)
    except Exception as error:
        return failure(shard, error)


def failure(shard: int, error: Exception) -> ShardFailure:
    """An error as a `ShardFailure`."""
    return ShardFailure(shard, f"{type(error).__name__}: {error}", is_disk_full(error))


def run_pool(shards: list[int], plan: Plan, config: LiftConfig, workers: int) -> Iterator[Outcome]:
    """Makes shards in `workers` processes; if one dies, the shards in progress are made again, one at a time.

    Shards are handed out as processes become free, so memory does not grow with the run. A shard that kills its
    process `MOST_ATTEMPTS` times is reported as failed.

    Raises:
        N3DError: if a process cannot load the networks.
    """
    waiting, suspects, deaths = deque(shards), deque[int](), Counter[int]()
    while waiting or suspects:
        died: list[int] = []
        if suspects:
            yield from _drain(suspects, 1, plan, config, died)
        else:
            yield from _drain(waiting, workers, plan, config, died)
        deaths.update(died)
        for shard in died:
            if deaths[shard] >= MOST_ATTEMPTS:
                yield ShardFailure(shard, f"its process died {deaths[shard]} times (out of memory?)")
            else:
                suspects.append(shard)


def _drain(queue: deque[int], width: int, plan: Plan, config: LiftConfig, died: list[int]) -> Iterator[Outcome]:
    """Makes the queued shards in one pool; if a process dies, adds the shards in progress to `died`."""
    running: dict[Future[Outcome], int] = {}
    context = get_context("spawn")
    started = context.Value("i", 0)
    with one_thread_each(), ProcessPoolExecutor(width, context, _start, (plan, config, started)) as pool:
        try:
            while queue or running:
                while queue and len(running) < width + (width > 1):
                    shard = queue.popleft()
                    running[pool.submit(_work, shard)] = shard
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = future.result()
                    del running[future]
                    yield outcome
        except BrokenProcessPool:
            died.extend(sorted(running.values()))


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Limits processes started within to one thread for linear algebra; the parallelism is across processes."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_process: tuple[Plan, LiftConfig, Perception] | N3DError | None = None


def _start(plan: Plan, config: LiftConfig, started: Any) -> None:
    global _process
    import cv2

    cv2.setNumThreads(1)
    with started.get_lock():
        number = started.value
        started.value += 1
    try:
        models = replace(config.models, device=device_of(number, config.models.device)) if config.models.any else None
        _process = plan, config, Perception(models or config.models)
    except N3DError as error:  # raised later: an error here would look like a killed process
        _process = error


def device_of(number: int, device: str) -> str:
    """The device of a process's networks: with `cuda`, processes are spread over the GPUs."""
    if device != "cuda":
        return device
    import torch

    return f"cuda:{number % max(1, torch.cuda.device_count())}"


def _work(shard: int) -> Outcome:
    assert _process is not None
    if isinstance(_process, N3DError):
        raise _process
    return attempt(shard, *_process)
