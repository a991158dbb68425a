"""What a large run costs: `python -m training.lift.simulate --bench bench.json --images 1700000 --cpus 8 32 128`.

A discrete-event simulation of the pipeline of `ray_run.py`: shards pass readers, networks and lifters with bounded
queues between them, and share the storage's bandwidth. Stage times come from `bench.lift --json`; times of the
networks are assumptions unless they are given.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUEUE = 2  # shards that may wait before a stage for each of its workers
SHARD_OVERHEAD_S = 0.05  # scheduling a task and opening files


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of one image.

    Attributes:
        read, gpu, lift: seconds of one CPU core, one GPU, one CPU core.
        bytes_in, bytes_out: read from and written to the storage.
    """

    read: float
    gpu: float
    lift: float
    bytes_in: float
    bytes_out: float


@dataclass(frozen=True)
class Cluster:
    """What it runs on: CPU cores, GPUs, and bytes a second of the shared storage."""

    cpus: int
    gpus: int
    storage: float


def simulate(images: int, per_shard: int, cost: Cost, cluster: Cluster) -> dict[str, Any]:
    """Wall time, rate and use of each resource of a run; cores are shared between readers and lifters by their work."""
    work = cost.read + cost.lift
    readers = max(1, min(cluster.cpus - 1, round(cluster.cpus * cost.read / work)))
    servers = [readers, cluster.gpus or 1, max(1, cluster.cpus - readers)]
    seconds = [cost.read, cost.gpu if cluster.gpus else 0.0, cost.lift]
    service = [s * per_shard + SHARD_OVERHEAD_S * (s > 0) for s in seconds]
    shards = -(-images // per_shard)
    end, busy, storage_busy = _run(shards, servers, service, per_shard, cost, cluster)
    names = ("readers", "gpus", "lifters")
    use = {n: round(b / (end * s), 3) for n, b, s in zip(names, busy, servers, strict=True)}
    return {
        "hours": round(end / 3600, 3),
        "images_per_s": round(images / end, 1),
        "cpu_hours": round(images * work / 3600, 1),
        "gpu_hours": round(images * cost.gpu / 3600, 1) if cluster.gpus else 0.0,
        "terabytes_in": round(images * cost.bytes_in / 1e12, 3),
        "terabytes_out": round(images * cost.bytes_out / 1e12, 3),
        "use": {**use, "storage": round(storage_busy / end, 3)},
    }


def _run(
    shards: int, servers: list[int], service: list[float], per_shard: int, cost: Cost, cluster: Cluster
) -> tuple[float, list[float], float]:
    """Event loop; returns the end, busy seconds of each stage and of the storage."""
    waiting: list[deque[int]] = [deque(), deque(), deque()]
    free, busy = list(servers), [0.0, 0.0, 0.0]
    blocked: list[deque[int]] = [deque(), deque(), deque()]  # done, but the next queue is full
    events: list[tuple[float, int, int]] = []
    now, storage_at, storage_busy, next_shard, finished = 0.0, 0.0, 0.0, 0, 0
    moved = (per_shard * cost.bytes_in / cluster.storage, 0.0, per_shard * cost.bytes_out / cluster.storage)
    while finished < shards:
        progress = True
        while progress:
            progress = False
            for stage in (2, 1, 0):
                if blocked[stage] and len(waiting[stage + 1]) < QUEUE * servers[stage + 1]:
                    waiting[stage + 1].append(blocked[stage].popleft())
                    free[stage] += 1
                    progress = True
                ready = waiting[stage] or (stage == 0 and next_shard < shards)
                if ready and free[stage]:
                    shard = next_shard if stage == 0 else waiting[stage].popleft()
                    next_shard += stage == 0
                    free[stage] -= 1
                    storage_at = max(storage_at, now) + moved[stage] if moved[stage] else storage_at
                    storage_busy += moved[stage]
                    done = max(now + service[stage], storage_at if moved[stage] else 0.0)
                    busy[stage] += service[stage]
                    heapq.heappush(events, (done, stage, shard))
                    progress = True
        now, stage, shard = heapq.heappop(events)
        if stage == 2:
            free[2] += 1
            finished += 1
        else:
            blocked[stage].append(shard)
    return now, busy, storage_busy


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; prints a table over cluster sizes, and one JSON line last."""
    parser = argparse.ArgumentParser(prog="python -m training.lift.simulate", description=__doc__.split("\n")[0])
    parser.add_argument("--bench", required=True, help="file with the JSON line of bench.lift")
    parser.add_argument("--images", type=int, default=1_700_000)
    parser.add_argument("--per-shard", type=int, default=128)
    parser.add_argument("--gpu-ms", type=float, default=120.0, help="networks' time an image (assumed); 0: none")
    parser.add_argument("--kb-in", type=float, default=160.0)
    parser.add_argument("--kb-out", type=float, default=370.0)
    parser.add_argument("--storage-gb-s", type=float, default=2.0)
    parser.add_argument("--cpus", type=int, nargs="+", default=[8, 32, 128, 512, 1024])
    parser.add_argument("--cpus-per-gpu", type=float, default=1.0)
    options = parser.parse_args(arguments)
    stages = json.loads(Path(options.bench).read_text().strip().splitlines()[-1])["stage_ms"]
    cost = Cost(
        stages["decode"] / 1e3,
        options.gpu_ms / 1e3,
        (stages["geometry"] + stages["encode"] + stages["questions"]) / 1e3,
        options.kb_in * 1e3,
        options.kb_out * 1e3,
    )
    rows = {}
    print("| CPU cores | GPUs | images/s | hours | readers | GPUs busy | lifters | storage |", file=sys.stderr)
    print("|---|---|---|---|---|---|---|---|", file=sys.stderr)
    for cpus in options.cpus:
        gpus = max(1, round(cpus / options.cpus_per_gpu)) if options.gpu_ms else 0
        cluster = Cluster(cpus, gpus, options.storage_gb_s * 1e9)
        row = rows[str(cpus)] = simulate(options.images, options.per_shard, cost, cluster)
        use = " | ".join(f"{100 * row['use'][k]:.0f} %" for k in ("readers", "gpus", "lifters", "storage"))
        print(f"| {cpus} | {gpus} | {row['images_per_s']:.0f} | {row['hours']:.2f} | {use} |", file=sys.stderr)
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
