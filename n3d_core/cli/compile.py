"""`n3d compile`: writes a checkpoint's graphs, or engines for given GPUs, to a folder with a manifest."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n3d_core.atomic_write import write_text
from n3d_core.errors import ConfigError, EngineError
from n3d_core.models import find_model

if TYPE_CHECKING:
    from n3d_core.backends.store import Artifact, Store
    from n3d_core.network.config import N3DConfig
    from n3d_core.network.plan import ImagePlan

log = logging.getLogger("n3d.compile")

MANIFEST = "manifest.json"

DESCRIPTION = "Writes a model's ONNX graphs, or TensorRT engines for given GPUs, to a folder with a manifest."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("model", help="a shipped model's name or a checkpoint folder")
    parser.add_argument(
        "--size", default="640x480", help="width x height of the camera's images (default: %(default)s)"
    )
    parser.add_argument("--target", default="", help="GPUs, as in sm_86,sm_89,sm_120 (default: only ONNX graphs)")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--precision", default="fp16", help="fp32, fp16, bf16, int8 or int4 (default: %(default)s)")
    parser.add_argument(
        "--lower", action="store_true", help="lower the graphs to opset 19, for TensorRT before 10.15.1"
    )
    parser.add_argument("--workspace", type=float, metavar="MIB", help="memory limit for building an engine")
    parser.add_argument(
        "--cache", type=int, default=2048, help="size of an engine's cache in tokens (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command; progress goes to stderr, the manifest to stdout as one line of JSON.

    Raises:
        ConfigError, CheckpointError, EngineError, MissingDependencyError: see their messages.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    folder = find_model(args.model)
    from n3d_core.backends.select import require_onnx

    require_onnx()
    job = Compilation(folder, args.size, args.precision, args.lower, args.cache, args.workspace)
    targets = [t for t in args.target.split(",") if t]
    manifest = job.engines(args.output, targets) if targets else job.graphs(args.output)
    print(json.dumps(manifest))
    return 0


class Compilation:
    """Compiles one checkpoint for one image size in one precision.

    Args:
        size: `WxH` in pixels.
        lower: whether to lower the graph even if the local TensorRT supports the canonical one.
        capacity: tokens in the engine's cache.
        workspace: MiB that a build may use; None for no limit.
    """

    def __init__(
        self, folder: Path, size: str, precision: str, lower: bool, capacity: int, workspace: float | None = None
    ) -> None:
        from n3d_core.backends.export.precision import Precision
        from n3d_core.network.config import N3DConfig

        self.folder, self.size, self.lower, self.capacity = folder, size, lower, capacity
        self.precision = Precision.named(precision, "fp16")
        if capacity < 64:
            raise ConfigError(f"--cache must be at least 64 tokens (an image alone takes hundreds); got {capacity}")
        if workspace is not None and not 0 < workspace < 1 << 40:
            raise ConfigError(f"--workspace must be a number of MiB above 0; got {workspace}")
        self.workspace = None if workspace is None else int(workspace * 2**20)
        self.plan = plan_of_size(N3DConfig.from_file(folder / "config.json"), size)

    def graphs(self, output: Path) -> dict[str, Any]:
        """Writes the graphs and the manifest, which still lists existing engines."""
        from n3d_core.backends.export.dialect import refusals
        from n3d_core.backends.export.graph import GraphStore
        from n3d_core.backends.store import Store

        store = Store(output, setting="--output")
        graphs = GraphStore(self.folder, self.precision, self.lower, store=store)
        with store.exclusive():
            for graph in (graphs.vision(self.plan), graphs.decoder()):
                refused = refusals(graph.path)
                if self.lower and refused:
                    raise EngineError(f"TensorRT 10.3 does not support the lowered {graph.path}: {'; '.join(refused)}")
            keys = [graphs.vision_key(self.plan), graphs.decoder_key(None)]
            return self._write_manifest(store, graphs.weights_sha256, self.lower, keys)

    def engines(self, output: Path, targets: list[str]) -> dict[str, Any]:
        """Builds the tower's and the decoder's engine for each target; existing engines that match are kept."""
        from n3d_core.backends.store import Store
        from n3d_core.backends.tensorrt.api import TensorRT, local_architecture
        from n3d_core.backends.tensorrt.supply import EngineStore

        targets = list(dict.fromkeys(targets))
        api = TensorRT.that_builds(targets, local_architecture())
        store = Store(output, setting="--output")
        keys: list[dict[str, Any]] = []
        with store.exclusive():
            for target in targets:
                engines = EngineStore(
                    self.folder,
                    api,
                    target,
                    self.precision,
                    workspace=self.workspace,
                    capacity=self.capacity,
                    lower=self.lower,
                    store=store,
                )
                wanted = [engines.vision_key(self.plan), engines.decoder_key()]
                missing = sum(store.find(key) is None for key in wanted)
                self._check_space(output, missing / 2)
                engines.vision_artifact(self.plan, self.size)
                engines.decoder_artifact()
                if not missing:
                    log.info("the engines for %s are up to date", target)
                keys += wanted
                # Written after each target, so that an interrupted run keeps the finished ones.
                manifest = self._write_manifest(store, engines.graphs.weights_sha256, engines.graphs.lowered, keys, api)
        return manifest

    def _write_manifest(
        self, store: Store, weights: str, lowered: bool, first: list[dict[str, Any]], api: Any = None
    ) -> dict[str, Any]:
        """Lists all intact artifacts of this checkpoint, those with the keys `first` in front."""
        from n3d_core.backends.export.graph import GRAPH_VERSION
        from n3d_core.backends.store import damage

        listed: dict[str, list[dict[str, Any]]] = {"engines": [], "graphs": []}
        for artifact in sorted(store.artifacts(), key=lambda a: first.index(a.key) if a.key in first else len(first)):
            why = damage(artifact.folder, artifact.key)
            if why is not None:
                log.warning("dropping %s from the manifest: %s", artifact.folder.name, why)
            elif artifact.key.get("weights") == weights:
                listed["engines" if "target" in artifact.key else "graphs"].append(_entry(artifact))
            else:
                log.warning("not listing %s in the manifest: it was built from other weights", artifact.folder.name)
        manifest = {
            "model": self.folder.name,
            "weights_sha256": weights,
            "precision": self.precision.name,
            "size": self.size,
            "patch_grid": [self.plan.grid_h, self.plan.grid_w],
            "capacity": self.capacity,
            "lowered": lowered,
            "graph_version": GRAPH_VERSION,
            **({"tensorrt": {"name": api.name, "version": api.version}} if api is not None else {}),
            **{kind: entries for kind, entries in listed.items() if entries},
        }
        write_text(store.root / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        return manifest

    def _check_space(self, output: Path, targets: float) -> None:
        """Size of each engine's weights, with integers counted as fp16."""
        from n3d_core.network.checkpoint import Shards

        width = 4 if self.precision.name == "fp32" else 2
        needed = width * Shards(self.folder).numbers * targets
        free = shutil.disk_usage(output).free
        if free < needed:
            raise EngineError(f"{output}: about {needed / 1e9:.1f} GB are needed, but {free / 1e9:.1f} GB are free")


def plan_of_size(config: N3DConfig, size: str) -> ImagePlan:
    """The plan of images of a camera's size, `WxH`.

    Raises:
        ConfigError: if it does not have that form. ImageError: if the image would be too elongated.
    """
    from n3d_core.network.plan import image_plan
    from n3d_core.network.preprocess import patch_grid
    from n3d_core.preparation import ImageSize

    image = ImageSize.parse(size)
    return image_plan(config, *patch_grid(image.width, image.height, config))


def _entry(artifact: Artifact) -> dict[str, Any]:
    """An artifact's entry in the manifest; paths are relative to the manifest's folder."""
    data: dict[str, Any] = {}
    for name, sealed in artifact.files.items():
        stated = {"file": f"{artifact.folder.name}/{name}", "bytes": sealed["bytes"], "sha256": sealed["sha256"]}
        data |= {"data": stated} if name.endswith(".data") else stated
    return {key: value for key, value in artifact.key.items() if key != "weights"} | artifact.notes | data
