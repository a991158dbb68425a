"""Runs the data engine: `python -m training.lift.run CONFIG.yaml [--workers N | --ray ADDRESS]`.

Ends with one JSON line. A second run makes only what is missing; the same configuration gives the same bytes in one
process, in several and on a cluster. Exit status: 0 if all shards are complete, 1 if some are not, 2 if the input is
unusable.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from n3d_core.errors import ConfigError, N3DError
from training.entry.command import sentence
from training.lift.lift_config import LiftConfig
from training.lift.local_run import Outcome, ShardFailure, run_here, run_pool
from training.lift.manifest import totals, write_manifest
from training.lift.plan import Plan, make_plan
from training.lift.shards import ShardSummary, finished_shard, shard_path

MOST_FULL = 3  # failed shards after which a full disk stops the run


class ShardProgress:
    """A progress bar on stderr: shards, images, and why things were left out."""

    def __init__(self, shards: int, done: list[ShardSummary]) -> None:
        self._images = self._samples = 0
        self._left_out: Counter[str] = Counter()
        if done:
            print(f"resuming: {len(done)} of {shards} shards are complete", file=sys.stderr, flush=True)
        self._bar = tqdm(total=shards, initial=len(done), unit="shard", file=sys.stderr, mininterval=1.0)

    def add(self, summary: ShardSummary) -> None:
        """Counts a finished shard."""
        self._images += summary.images
        self._samples += summary.samples
        self._left_out.update(summary.rejected)
        self._left_out.update(summary.problems)
        worst = ", ".join(f"{reason} {n}" for reason, n in self._left_out.most_common(3))
        rate = self._images / max(self._bar.format_dict["elapsed"], 1e-9)
        self._bar.set_postfix_str(
            f"{self._images} images, {rate:.1f} images/s, {self._samples} samples, left out: {worst or 'none'}",
            refresh=False,
        )
        self._bar.update()


def run(
    config: LiftConfig, workers: int = 1, ray: str | None = None, gpus: int = 0, verify: bool = False
) -> dict[str, Any]:
    """Makes all incomplete shards, then index, manifest and report.

    Args:
        config: configuration of the run.
        workers: processes on this machine, or parallel tasks on a cluster (0: one per CPU).
        ray: address of a cluster, `local` for one on this machine; None does not use Ray.
        gpus: number of GPUs of a cluster to use; 0 for all.
        verify: whether to check the digests of existing shards.

    Returns:
        The record that the command prints as its last line.
    """
    start = time.monotonic()
    plan = make_plan(config)
    known = [finished_shard(config.output.folder, s, plan.fingerprint, verify) for s in range(plan.shards)]
    done = [s for s in known if s is not None]
    missing = [number for number, s in enumerate(known) if s is None]
    for number in missing:
        # delete shards with a wrong digest: workers only check the size
        shard_path(config.output.folder, number).with_suffix(".json").unlink(missing_ok=True)
    progress = ShardProgress(plan.shards, done)
    failures: list[ShardFailure] = []
    made = 0
    for outcome in _outcomes(missing, plan, config, workers, ray, gpus):
        if isinstance(outcome, ShardFailure):
            failures.append(outcome)
            print(f"\nshard {outcome.shard} was not written: {outcome.error}", file=sys.stderr, flush=True)
            if sum(f.disk_full for f in failures) >= MOST_FULL:
                print("the disk is full: free some space and run again; complete shards are kept", file=sys.stderr)
                break
        else:
            done.append(outcome)
            made += outcome.images
            progress.add(outcome)
    return _finish(plan, config, done, failures, made, time.monotonic() - start)


def _outcomes(
    missing: list[int], plan: Plan, config: LiftConfig, workers: int, ray: str | None, gpus: int
) -> Iterator[Outcome]:
    if not missing:
        return iter(())
    if ray is not None:
        from training.lift.ray_run import run_ray

        return run_ray(missing, plan, config, ray, workers, gpus)
    return run_pool(missing, plan, config, workers) if workers > 1 else run_here(missing, plan, config)


def _finish(
    plan: Plan, config: LiftConfig, done: list[ShardSummary], failures: list[ShardFailure], made: int, seconds: float
) -> dict[str, Any]:
    problems, rejected = totals(plan, done)
    complete = len(done) == plan.shards
    result: dict[str, Any] = {
        "complete": complete,
        "shards": len(done),
        "shards_missing": plan.shards - len(done),
        "images": sum(s.images for s in done),
        "samples": sum(s.samples for s in done),
        "objects": sum(s.objects for s in done),
        "bytes": sum(s.bytes for s in done),
        "problems": dict(sorted(problems.counts.items())),
        "rejected": dict(sorted(rejected.items())),
        "images_per_s": round(made / seconds, 2) if seconds > 0 else 0.0,
        "seconds": round(seconds, 2),
        "failures": [f.error for f in failures[:5]],
    }
    if complete:
        from training.lift.report import write_report

        try:
            write_manifest(plan, config, done)
            result["report"] = str(write_report(config.output.folder, problems, config.output.pictures))
        except OSError as error:
            print(f"all shards are complete but the index is not: {error}; run again", file=sys.stderr)
            result |= {"complete": False, "failures": [f"{type(error).__name__}: {error}"]}
        for left in Path(config.output.folder).glob("*.part"):  # of killed processes
            left.unlink(missing_ok=True)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.lift.run", description=__doc__.split("\n")[0])
    parser.add_argument("config", help="YAML file; see docs/data-engine.md and training/lift/configs")
    parser.add_argument("--output", help="folder to write to, instead of output.folder")
    parser.add_argument("--workers", type=int, default=None, help="processes (default 1; with --ray: as Ray has CPUs)")
    parser.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster: its address, `auto`, or `local`")
    parser.add_argument("--gpus", type=int, default=0, help="number of GPUs of the cluster to use (default: all)")
    parser.add_argument("--verify", action="store_true", help="check the digests of existing shards")
    options = parser.parse_args(arguments)
    try:
        config = LiftConfig.from_yaml(options.config)
        if options.output:
            config = replace(config, output=replace(config.output, folder=options.output))
        if options.workers is not None and options.workers < (0 if options.ray else 1):
            raise ConfigError(f"--workers must be at least 1; got {options.workers}")
        if options.gpus and not options.ray:
            raise ConfigError("--gpus is for --ray; without it, models.device: cuda and --workers N use this machine's")
        workers = options.workers if options.workers is not None else (0 if options.ray else 1)
        result = run(config, workers, options.ray, options.gpus, options.verify)
    except (N3DError, OSError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0 if result["complete"] else 1


if __name__ == "__main__":
    sys.exit(main())
