"""Rendered scenes cached in shards: reading takes microseconds, rendering tens of milliseconds.

A shard is a safetensors file of whole arrays with a JSON sidecar that is written last: a shard without a sidecar does
not count. Each is a pure function of the config and its seeds, so an interrupted run resumes where it stopped.

    python -m training.scenes.cache --seeds 0:12000 --size 384x288 --output DIR
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.atomic_write import atomic_write, write_text
from n3d_core.backends.store import sha256_of
from n3d_core.errors import ConfigError, N3DError
from n3d_core.geometry import Camera
from training.entry.command import described, run_command
from training.scenes.catalogue import CLASSES
from training.scenes.colors import COLORS
from training.scenes.scene import Scene, render_views
from training.scenes.scene_config import SceneConfig
from training.scenes.seeds import TRAIN_SEEDS, VALIDATION_SEEDS, check_seeds, parse_seeds
from training.scenes.vocabulary import Vocabulary

SHARD_FRAMES = 256
_PIXEL_BYTES = 6  # colour, depth and instance
_LARGE = 20e9  # bytes above which --yes is required
_FORMAT = 1


class CacheError(N3DError):
    """A scene cache is missing, damaged, or of the wrong kind."""


@dataclass(frozen=True)
class CachedScene:
    """One frame of a cache.

    Attributes:
        color: RGB uint8 [H, W, 3].
        depth_mm: uint16 [H, W] as the sensor measured it, 0 where it did not.
        instances: uint8 [H, W], index + 1 into the objects, 0 elsewhere.
        gravity: float32 [3], unit vector in the optical frame.
        class_ids, color_ids: uint8 [N], indices into `CLASSES` and `COLORS`.
        centers, sizes: float32 [N, 3], metres in the optical frame.
        visible: float32 [N].
    """

    seed: int
    view: int
    color: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    instances: NDArray[np.uint8]
    camera: Camera
    gravity: NDArray[np.float32]
    class_ids: NDArray[np.uint8]
    color_ids: NDArray[np.uint8]
    centers: NDArray[np.float32]
    sizes: NDArray[np.float32]
    visible: NDArray[np.float32]


class SceneCache:
    """Reads a cache folder, memory-mapped; `refresh` picks up new shards.

    Args:
        path: the folder.
        verify: whether to compare each shard's SHA-256 with its sidecar's.

    Raises:
        CacheError: if the folder has no shard, shards of different configs or classes, or a damaged one.
    """

    def __init__(self, path: str | Path, verify: bool = False) -> None:
        self.path = Path(path)
        self._verify = verify
        self._shards: list[dict[str, NDArray[Any]]] = []
        self._names: set[str] = set()
        self._starts = [0]
        self._kind: dict[str, Any] | None = None
        self.refresh()
        if not self._shards:
            raise CacheError(f"{self.path}: no shard found; write some with python -m training.scenes.cache --output")

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of every image."""
        height, width = self._shards[0]["depth_mm"].shape[1:]
        return width, height

    def refresh(self) -> int:
        """Adds new shards; returns the number of frames. Indices of old frames stay."""
        for sidecar in sorted(self.path.glob("shard-*.json")):
            if sidecar.name not in self._names:
                self._add(sidecar)
        return len(self)

    def __getitem__(self, index: int) -> CachedScene:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a cache of {len(self)}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        shard, i = self._shards[number], index - self._starts[number]
        fx, fy, cx, cy = (float(v) for v in shard["intrinsics"][i])
        height, width = shard["depth_mm"].shape[1:]
        own = slice(int(shard["object_start"][i]), int(shard["object_start"][i + 1]))
        return CachedScene(
            seed=int(shard["seed"][i]),
            view=int(shard["view"][i]),
            color=shard["color"][i],
            depth_mm=shard["depth_mm"][i],
            instances=shard["instances"][i],
            camera=Camera(width, height, fx, fy, cx, cy),
            gravity=shard["gravity"][i],
            class_ids=shard["object_class"][own],
            color_ids=shard["object_color"][own],
            centers=shard["object_center"][own],
            sizes=shard["object_size"][own],
            visible=shard["object_visible"][own],
        )

    def _add(self, sidecar: Path) -> None:
        data = sidecar.with_suffix(".safetensors")
        about = _sidecar(sidecar)
        if about["classes"] != list(CLASSES) or about["colors"] != list(COLORS) or about["format"] != _FORMAT:
            raise CacheError(f"{sidecar}: written for other classes, colours or format: render the cache again")
        kind = {k: about["config"][k] for k in ("width", "height")}
        if self._kind not in (None, kind):
            raise CacheError(f"{sidecar}: all shards of a folder must have one image size; got {kind} and {self._kind}")
        if not data.exists() or data.stat().st_size != about["bytes"]:
            raise CacheError(
                f"{data}: missing or cut short ({about['bytes']} bytes expected): delete {sidecar} and rerun"
            )
        if self._verify and sha256_of(data) != about["sha256"]:
            raise CacheError(f"{data}: its checksum differs from its sidecar's: delete both and rerun")
        self._kind = kind
        try:
            self._shards.append(_map_tensors(data))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise CacheError(f"{data}: damaged ({error}): delete it and its sidecar, and render again") from error
        self._names.add(sidecar.name)
        self._starts.append(self._starts[-1] + int(about["frames"]))


def write_shard(folder: Path, seeds: range, views: int, config: SceneConfig) -> int:
    """Renders a shard unless it exists; returns the number of frames rendered (0 if it exists).

    Raises:
        CacheError: if a shard of these seeds with another config exists, or it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    name = f"shard-{seeds.start:07d}-{seeds.stop:07d}"
    sidecar, data = folder / f"{name}.json", folder / f"{name}.safetensors"
    about: dict[str, Any] = {
        "format": _FORMAT,
        "seeds": [seeds.start, seeds.stop],
        "views": views,
        "config": config.to_mapping(),
        "classes": list(CLASSES),
        "colors": list(COLORS),
    }
    if sidecar.exists():
        found = _sidecar(sidecar)
        # shards written before a setting existed have its default
        same = SceneConfig.from_mapping(found.get("config", {})) == config
        if not same or any(found.get(key) != value for key, value in about.items() if key != "config"):
            raise CacheError(f"{sidecar}: rendered with another config: choose another --output or delete it")
        return 0
    scenes = [scene for seed in seeds for scene in render_views(seed, config, views)]
    try:
        with atomic_write(data) as part:
            save_file(_arrays(scenes), str(part))
            about |= {"frames": len(scenes), "bytes": part.stat().st_size, "sha256": sha256_of(part)}
    except SafetensorError as error:
        raise CacheError(
            f"{data}: cannot be written ({error}): free some space and run again; finished shards are kept"
        ) from error
    write_text(sidecar, json.dumps(about))
    return len(scenes)


def _arrays(scenes: Sequence[Scene]) -> dict[str, NDArray[Any]]:
    objects = [o for s in scenes for o in s.truth.objects]
    starts = np.cumsum([0] + [len(s.truth.objects) for s in scenes])
    cameras = [s.frame.camera for s in scenes]
    return {
        "seed": np.array([s.seed for s in scenes], np.int64),
        "view": np.array([s.view for s in scenes], np.int64),
        "color": np.stack([s.frame.color for s in scenes]),
        "depth_mm": np.stack([_millimetres(s.frame.depth) for s in scenes]),
        "instances": np.stack([s.instances for s in scenes]),
        "intrinsics": np.array([[c.fx, c.fy, c.cx, c.cy] for c in cameras], np.float64),
        "gravity": np.array([s.gravity for s in scenes], np.float32),
        "object_start": starts.astype(np.int64),
        "object_class": np.array([CLASSES.index(o.cls) for o in objects], np.uint8),
        "object_color": np.array([COLORS.index(o.color) for o in objects], np.uint8),
        "object_center": np.array([o.box.center for o in objects], np.float32).reshape(-1, 3),
        "object_size": np.array([o.box.size for o in objects], np.float32).reshape(-1, 3),
        "object_visible": np.array([o.visible for o in objects], np.float32),
    }


def _millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.clip(np.nan_to_num(depth * 1000, nan=0.0), 0, 65535).round().astype(np.uint16)


def _map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file, memory-mapped read-only (the library itself copies whole tensors)."""
    kinds = {"U8": np.uint8, "U16": np.uint16, "I64": np.int64, "F32": np.float32, "F64": np.float64}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    raw = np.memmap(path, np.uint8, "r", offset=8 + length)
    out: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, stop = entry["data_offsets"]
            out[name] = raw[first:stop].view(kinds[entry["dtype"]]).reshape(entry["shape"])
    return out


def _sidecar(path: Path) -> dict[str, Any]:
    """What the file beside a shard says of it.

    Raises:
        CacheError: if it is damaged.
    """
    try:
        about = json.loads(path.read_text())
        if not {"format", "config", "classes", "colors", "frames", "bytes", "sha256"} <= about.keys():
            raise ValueError("keys are missing")
    except (ValueError, AttributeError) as error:
        raise CacheError(f"{path}: damaged ({error}): delete it and its .safetensors, and render again") from error
    return dict(about)


def write_cache(
    folder: Path, seeds: range, views: int, config: SceneConfig, workers: int, progress: Callable[[int], None]
) -> int:
    """Writes the shards of `seeds`, calling `progress` with the frames of each; returns the frames rendered."""
    folder.mkdir(parents=True, exist_ok=True)
    step = max(1, SHARD_FRAMES // views)
    pieces = [range(a, min(a + step, seeds.stop)) for a in range(seeds.start, seeds.stop, step)]
    rendered = 0
    if workers == 1:
        for piece in pieces:
            rendered += write_shard(folder, piece, views, config)
            progress(len(piece) * views)
        return rendered
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(write_shard, folder, piece, views, config) for piece in pieces]
        for piece, future in zip(pieces, futures, strict=True):
            rendered += future.result()
            progress(len(piece) * views)
    return rendered


def parse_span(text: str, kind: type[int] | type[float]) -> tuple[Any, Any]:
    """Reads `LOW:HIGH`.

    Raises:
        ConfigError: if the text is not two numbers with a colon.
    """
    low, _, high = text.partition(":")
    try:
        return kind(low), kind(high)
    except ValueError:
        raise ConfigError(f"a range must be LOW:HIGH, such as 46:76; got {text!r}") from None


def parse_size(text: str) -> tuple[int, int]:
    """Reads `WIDTHxHEIGHT`.

    Raises:
        ConfigError: if the text is not two whole numbers with an x.
    """
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise ConfigError(f"a size must be WIDTHxHEIGHT, such as 256x192; got {text!r}") from None


def check_space(folder: Path, frames: int, config: SceneConfig, agreed: bool) -> str:
    """The disk space that a cache takes, as a sentence.

    Args:
        frames: number of missing frames.
        agreed: whether the user agreed to a large cache.

    Raises:
        CacheError: if it does not fit on the disk, or is large and not agreed to.
    """
    there = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    needed, free = frames * config.width * config.height * _PIXEL_BYTES, shutil.disk_usage(there).free
    about = (
        f"{frames} frames of {config.width}x{config.height} take about {needed / 1e9:.1f} GB, and {there} has "
        f"{free / 1e9:.1f} GB free"
    )
    if needed > free:
        raise CacheError(f"{about}: ask for fewer --seeds, --views 1 or a smaller --size, or write to another disk")
    if needed > _LARGE and not agreed:
        raise CacheError(f"{about}: add --yes to write them")
    return about


def _frames_there(folder: Path, seeds: range) -> int:
    """Number of frames of the seeds in complete shards."""
    names = (path.stem.split("-")[1:] for path in folder.glob("shard-*-*.json"))
    return sum(_sidecar(folder / f"shard-{a}-{b}.json")["frames"] for a, b in names if int(a) in seeds)


def render_cache(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the command line."""
    from tqdm import tqdm

    seeds, (width, height) = parse_seeds(args.seeds), parse_size(args.size)
    validation = seeds.start in VALIDATION_SEEDS
    check_seeds(seeds, VALIDATION_SEEDS if validation else TRAIN_SEEDS, "a training cache")
    if args.views < 1 or args.workers < 1:
        raise ConfigError(f"--views and --workers must be at least 1; got {args.views} and {args.workers}")
    taught = Vocabulary.of_model(args.model) if args.model else Vocabulary()
    config = SceneConfig(
        width=width,
        height=height,
        fov=parse_span(args.fov, float),
        objects=parse_span(args.objects, int),
        distance=parse_span(args.distance, float),
        clutter_share=args.clutter,
        household_share=args.household,
    ).made_of(taught)
    frames = len(seeds) * args.views
    print(check_space(args.output, frames - _frames_there(args.output, seeds), config, args.yes), file=sys.stderr)
    start = time.monotonic()
    with tqdm(total=frames, unit="frame", file=sys.stderr) as bar:
        rendered = write_cache(args.output, seeds, args.views, config, args.workers, lambda n: bar.update(n) and None)
    rate = round(rendered / (time.monotonic() - start), 1)
    return {"frames": frames, "rendered": rendered, "frames_per_second": rate, "output": str(args.output)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = described("Renders a training cache.", prog="python -m training.scenes.cache")
    parser.add_argument("--seeds", default="0:12000", help="FIRST:STOP, training or validation seeds")
    parser.add_argument("--views", type=int, default=2, help="camera views of each scene")
    parser.add_argument("--size", default="384x288")
    parser.add_argument("--fov", default="46:76", help="LOW:HIGH, degrees that the longer side of the image sees")
    parser.add_argument("--objects", default="1:10", help="FEWEST:MOST objects of a scene")
    parser.add_argument("--distance", default="0.55:1.15", help="LOW:HIGH, camera distance; 1 just frames all objects")
    parser.add_argument("--model", type=Path, help="model folder whose vocabulary the scenes use; default: all names")
    parser.add_argument("--clutter", type=float, default=0.0, help="share of scenes with clutter of no class")
    parser.add_argument("--household", type=float, default=0.0, help="share of objects that are household meshes")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--yes", action="store_true", help=f"write more than {_LARGE / 1e9:.0f} GB")
    return run_command(render_cache, parser, arguments, failure=2)


if __name__ == "__main__":
    sys.exit(main())
