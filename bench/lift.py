"""Speed and accuracy of the data engine: `python -m bench.lift --json`.

Times are CPU seconds of one process, to reduce the influence of other load; comparisons alternate within one run.
Without Open3D `speedup_over_open3d` is null. The estimate in docs/data-engine.md uses `stage_ms`.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench import lift_truth as truth
from bench.command import bench_parser, run_bench
from bench.open3d_baseline import lift_with_open3d, load_open3d
from bench.primitives import render_primitives, sensor_noise
from n3d_core.geometry import Box3D, Camera
from n3d_core.geometry.frame_folder import TrueObject
from training.lift import masks
from training.lift.cleaning import CleanConfig
from training.lift.completion import CompletionConfig
from training.lift.lifting import Candidate, lift
from training.lift.local_run import one_thread_each
from training.lift.object_mask import ObjectMask
from training.lift.questions import ask
from training.lift.sample import encode_depth

OBJECTS = 8


@dataclass(frozen=True)
class Shot:
    """One image of the benchmark: 640x480, eight objects."""

    camera: Camera
    depth: NDArray[np.float32]
    candidates: list[Candidate]
    jpeg: bytes
    png: bytes


def shots(count: int) -> list[Shot]:
    """Scenes with a sensor's noise."""
    out = []
    for seed in range(count):
        scene = render_primitives(1000 + seed, OBJECTS)
        depth = sensor_noise(scene.depth, seed, scene.camera.fx)
        given = [ObjectMask.from_image(scene.instances == i) for i in range(OBJECTS)]
        jpeg = cv2.imencode(".jpg", scene.color[:, :, ::-1])[1].tobytes()
        candidates = [Candidate(s.shape, m.box, m) for s, m in zip(scene.solids, given, strict=True)]
        out.append(Shot(scene.camera, depth, candidates, jpeg, encode_depth(depth)[0]))
    return out


def cpu_ms(work: Callable[[Shot], object], on: list[Shot], repeats: int) -> float:
    """CPU milliseconds an image: the median of `repeats` passes over all images."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        for shot in on:
            work(shot)
        times.append((time.process_time() - start) / len(on) * 1e3)
    return statistics.median(times)


def geometry(shot: Shot) -> object:
    """The whole geometry stage: cleaning, boxes, rules, quality, completion."""
    return lift(shot.candidates, shot.depth, shot.camera, completion=CompletionConfig())


def cleaning(shot: Shot) -> object:
    """The part that Open3D can do too."""
    return lift(shot.candidates, shot.depth, shot.camera)


def with_open3d(shot: Shot) -> object:
    """That part, with Open3D."""
    return lift_with_open3d(shot.candidates, shot.depth, shot.camera, CleanConfig())


def measure(images: int, repeats: int, workers: bool = True) -> dict[str, Any]:
    """All figures of the benchmark."""
    cv2.setNumThreads(1)
    on = shots(images)
    geometry(on[0])
    whole_ms = cpu_ms(geometry, on, repeats)
    result: dict[str, Any] = {"images_per_s_core": round(1e3 / whole_ms, 2)}
    result["speedup_over_open3d"] = _speedup(on, repeats)
    wall, cpu, memory = _two_workers(images) if workers else (None, None, 0.0)
    result["two_worker_speedup"], result["two_worker_speedup_cpu"] = wall, cpu
    per_s, per_image_ms = _questions_per_s()
    result["qa_per_s_core"] = round(per_s, 1)
    table = truth.measure(truth.primitive_cases(range(max(6, images))))
    result["iou_visible_clean"] = table["mean"]["visible_clean"]
    result["iou_visible_noisy"] = table["mean"]["visible_noisy"]
    result["iou_whole"] = table["mean"]["whole_noisy"]
    result["iou_whole_clean"] = table["mean"]["whole_clean"]
    result["iou_whole_uncompleted"] = table["mean"]["whole_uncompleted"]
    result["memory_per_worker_mb"] = round(memory, 1)
    result["stage_ms"] = {**_stages(on, repeats), "geometry": round(whole_ms, 3), "questions": round(per_image_ms, 3)}
    result["shapes"] = table["shapes"]
    return result


def _speedup(on: list[Shot], repeats: int) -> float | None:
    if load_open3d() is None:
        return None
    with_open3d(on[0])
    ratios = [cpu_ms(with_open3d, on, 1) / cpu_ms(cleaning, on, 1) for _ in range(repeats)]
    return round(statistics.median(ratios), 3)


def _stages(on: list[Shot], repeats: int) -> dict[str, float]:
    """CPU milliseconds an image of the parts around the geometry."""

    def decode(shot: Shot) -> object:
        cv2.imdecode(np.frombuffer(shot.png, np.uint8), cv2.IMREAD_UNCHANGED)
        return cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR)

    def encode(shot: Shot) -> object:
        return encode_depth(shot.depth), [masks.encode(c.mask, *shot.depth.shape) for c in shot.candidates if c.mask]

    return {"decode": round(cpu_ms(decode, on, repeats), 3), "encode": round(cpu_ms(encode, on, repeats), 3)}


def _questions_per_s(seconds: float = 2.0) -> tuple[float, float]:
    """Queries and questions a CPU second about scenes of eight objects, and milliseconds an image."""
    rng = np.random.default_rng(0)
    camera = Camera.from_fov(60, 640, 480)
    names = ("person", "chair", "cup", "dog", "bottle", "chair", "book", "table")
    made, seed, start = 0, 0, time.process_time()
    while time.process_time() - start < seconds:
        objects = []
        for name in names:
            x, y, z = rng.uniform((-0.8, -0.6, 1.5), (0.8, 0.6, 4.0))
            w, h, d = rng.uniform(0.1, 0.6, 3)
            objects.append(TrueObject(Box3D(name, (x, y, z), (w, h, d)), name, "", 1.0))
        queries, questions = ask(objects, [[] for _ in names], [], camera, 6, 8, seed)
        made, seed = made + len(queries) + len(questions), seed + 1
    spent = time.process_time() - start
    return made / spent, 1e3 * spent / seed


_shots: list[Shot] = []


def _prepare(count: int) -> None:
    cv2.setNumThreads(1)
    _shots.extend(shots(count))
    geometry(_shots[0])


def _pass(_: int) -> tuple[float, float]:
    """One pass over the worker's images; returns its peak memory in MB and its CPU seconds."""
    start = time.process_time()
    for shot in _shots:
        geometry(shot)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time() - start


def _two_workers(images: int, passes: int = 8) -> tuple[float, float, float]:
    """How much faster two processes are than one, in turn.

    Returns:
        By wall clock; by CPU time an image (what two idle cores would give: it counts only what the two processes cost
        each other, not what other programs take away); and the peak memory of a worker in MB.
    """
    context = get_context("spawn")
    walls, cpus, memory = [], [], 0.0
    with (
        one_thread_each(),
        ProcessPoolExecutor(1, context, _prepare, (images,)) as one,
        ProcessPoolExecutor(2, context, _prepare, (images,)) as two,
    ):
        for pool, width in ((one, 1), (two, 2)):
            list(pool.map(_pass, range(2 * width)))
        for _ in range(3):
            wall, cpu = {}, {}
            for name, pool in (("one", one), ("two", two)):
                start = time.perf_counter()
                done = list(pool.map(_pass, range(passes)))
                wall[name] = time.perf_counter() - start
                cpu[name] = sum(c for _, c in done)
                memory = max(memory, *(m for m, _ in done))
            walls.append(wall["one"] / wall["two"])
            cpus.append(2 * cpu["one"] / cpu["two"])
    return round(statistics.median(walls), 3), round(statistics.median(cpus), 3), memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table and, last, the figures as one JSON line."""
    parser = bench_parser(__doc__)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)

    def figures(options: argparse.Namespace) -> dict[str, Any]:
        machine = {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
        return measure(options.images, options.repeats) | machine

    return run_bench(figures, parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
