"""Renders scenes into a frame folder, by one process or several."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from n3d_core.geometry.frame_folder import write_frame
from training.scenes.scene import render
from training.scenes.scene_config import SceneConfig


def write_frames(folder: Path, seeds: range, config: SceneConfig, workers: int = 1) -> Iterator[int]:
    """Writes a frame and its truth for each seed; yields how many objects each one shows.

    What several processes run must not stand in a `__main__` module: a spawned process does not import that.
    """
    if workers == 1:
        for number, seed in enumerate(seeds):
            yield _write_one(folder, number, seed, config)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(_write_one, folder, number, seed, config) for number, seed in enumerate(seeds)]:
            yield done.result()


def _write_one(folder: Path, number: int, seed: int, config: SceneConfig) -> int:
    scene = render(seed, config)
    write_frame(folder, number, scene.frame, scene.truth)
    return len(scene.truth.objects)
