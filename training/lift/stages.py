"""The three stages of a shard as plain functions, the same in one process and on a cluster.

`read_stage` (CPU: decode, check) -> `perceive_stage` (GPU, if there are networks) -> `lift_stage` (CPU: geometry,
questions, writing), connected by a `ShardWork`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from training.lift.lift_config import LiftConfig
from training.lift.models.perception import Perception
from training.lift.observation import Observation, focal_error, observe
from training.lift.plan import Plan
from training.lift.problems import ImageProblem
from training.lift.sample import Sample, make_sample
from training.lift.shards import ShardCounts, ShardSummary, finished_shard, write_shard


@dataclass
class ShardWork:
    """A shard on its way through the stages."""

    shard: int
    seen: list[Observation] = field(default_factory=list)
    counts: ShardCounts = field(default_factory=ShardCounts)
    done: ShardSummary | None = None


def read_stage(shard: int, plan: Plan, config: LiftConfig) -> ShardWork:
    """Reads a shard's images and counts unusable ones. A shard that is complete already is skipped."""
    done = finished_shard(config.output.folder, shard, plan.fingerprint)
    work = ShardWork(shard, done=done)
    if done is not None:
        return work
    start = time.process_time()
    for record in plan.records(shard):
        work.counts.images += 1
        try:
            seen = observe(record, config)
        except ImageProblem as problem:
            work.counts.problem(problem.reason, str(problem))
        except Exception as error:  # one bad image must not stop the run
            work.counts.problem("failed", f"{record.key}: {type(error).__name__}: {error}")
        else:
            for reason, example in seen.problems:
                work.counts.problem(reason, example)
            work.seen.append(seen)
    work.counts.seconds["read"] += time.process_time() - start
    return work


def perceive_stage(work: ShardWork, perception: Perception) -> ShardWork:
    """Adds objects, depth and masks from the networks."""
    if work.done is not None:
        return work
    start = time.perf_counter()
    whole = []
    for one in perception(work.seen):
        if isinstance(one, ImageProblem):
            work.counts.problem(one.reason, str(one))
        else:
            whole.append(one)
    work.seen = whole
    work.counts.seconds["perceive"] += time.perf_counter() - start
    return work


def lift_stage(work: ShardWork, plan: Plan, config: LiftConfig) -> ShardSummary:
    """Lifts the images, generates questions and writes the shard.

    Raises:
        OSError: if the shard cannot be written.
    """
    if work.done is not None:
        return work.done
    start = time.process_time()
    samples: list[Sample] = []
    for seen in work.seen:
        try:
            sample = make_sample(seen, config)
        except ImageProblem as problem:
            work.counts.problem(problem.reason, str(problem))
            work.counts.rejected.update(problem.rejected)
        except Exception as error:  # one bad image must not stop the run
            work.counts.problem("failed", f"{seen.record.key}: {type(error).__name__}: {error}")
        else:
            samples.append(sample)
            work.counts.camera(seen.camera_origin, focal_error(seen, config.source.fov))
            work.counts.places.update([seen.place] if seen.place else [])
            work.counts.rejected.update(sample.meta["rejected"])
    work.counts.seconds["lift"] += time.process_time() - start
    return write_shard(config.output.folder, work.shard, samples, plan.fingerprint, work.counts)


def make_shard(shard: int, plan: Plan, config: LiftConfig, perception: Perception) -> ShardSummary:
    """Runs all stages of a shard in this process."""
    return lift_stage(perceive_stage(read_stage(shard, plan, config), perception), plan, config)
