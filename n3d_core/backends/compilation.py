"""Writes a checkpoint's graphs, or engines for named GPUs, to a folder with a manifest."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from n3d_core.atomic_write import atomic_write
from n3d_core.backends.artifact_cache import sha256_of, writing
from n3d_core.backends.engine_manifest import MANIFEST, damaged, entries_of, kept_entries
from n3d_core.backends.export.builder import Weights
from n3d_core.backends.export.graph import GRAPH_VERSION, Graph, export_decoder, export_vision
from n3d_core.backends.export.precision import Precision
from n3d_core.backends.model_digest import model_digest
from n3d_core.backends.tensorrt.api import TensorRT, local_architecture
from n3d_core.backends.tensorrt.build import build_engine, decoder_profiles, profile_entries
from n3d_core.backends.tensorrt.operators import refusals
from n3d_core.errors import ConfigError, EngineError
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.plan import ImagePlan, image_plan
from n3d_core.network.preprocess import patch_grid
from n3d_core.preparation import ImageSize

log = logging.getLogger("n3d.compile")


class Compilation:
    """One checkpoint, one image size and one precision, on the way to graphs or engines.

    Args:
        size: `WxH` in pixels.
        lower: whether to lower even where TensorRT here would take the canonical graph.
        capacity: tokens of the engine's cache.
        workspace: MiB a build may use; None for no bound.
    """

    def __init__(
        self, folder: Path, size: str, precision: str, lower: bool, capacity: int, workspace: float | None = None
    ) -> None:
        self.folder, self.size, self.lower, self.capacity = folder, size, lower, capacity
        self.precision = Precision.named(precision, "fp16")
        if capacity < 64:
            raise ConfigError(f"--cache is {capacity}: at least 64 tokens are wanted (an image alone takes hundreds)")
        if workspace is not None and workspace <= 0:
            raise ConfigError(f"--workspace is {workspace}: a number of MiB above 0 is wanted")
        self.workspace = None if workspace is None else int(workspace * 2**20)
        self.network = load_network(folder, dtype=None)
        self.weights_sha256 = model_digest(folder)
        self.plan = plan_of_size(self.network.config, size)

    def graphs(self, output: Path) -> dict[str, Any]:
        """Writes `vision.onnx`, `decoder.onnx`, their `.data` files and the manifest, which goes on listing engines."""
        with writing(output, "--output"), _exclusive(output):
            with tempfile.TemporaryDirectory(dir=output, prefix=".part-") as place:
                graphs = self._export(Path(place), self.lower, None)
                entries = [self._graph_entry(kind, graph) for kind, graph in graphs.items()]
                engines = kept_entries(output, "engines", self.weights_sha256)
                for file in sorted(Path(place).iterdir()):
                    os.replace(file, output / file.name)
            others = {"engines": engines} if engines else {}
            return self._write_manifest(output, self.lower, {"graphs": entries} | others)

    def engines(self, output: Path, targets: list[str]) -> dict[str, Any]:
        """Writes `{vision,decoder}-{precision}-{target}.engine` and the manifest.

        Engines that still fit are kept, and so are the entries of other precisions and targets.
        """
        targets = list(dict.fromkeys(targets))
        api = TensorRT.that_builds(targets, local_architecture())
        reason = "--lower was given" if self.lower else api.needs_lowering(self.precision)
        if reason:
            log.info("the graph is lowered to opset 19: %s", reason)
        lowered, tensorrt = bool(reason), {"name": api.name, "version": api.version}
        with (
            writing(output, "--output"),
            _exclusive(output),
            tempfile.TemporaryDirectory(dir=output, prefix=".part-") as place,
        ):
            self._check_space(output, len(targets))
            graphs = self._export(Path(place), lowered, None if lowered else self.capacity)
            renewed = [self._engine_name(kind, target) for target in targets for kind in graphs]
            known = {str(e["file"]): e for e in entries_of(output, "engines", self.weights_sha256)}
            written = kept_entries(output, "graphs", self.weights_sha256)
            more = {"tensorrt": tensorrt} | ({"graphs": written} if written else {})
            others = kept_entries(output, "engines", self.weights_sha256, renewed)
            done: list[dict[str, Any]] = []
            for target in targets:
                for kind, graph in graphs.items():
                    done.append(self._engine_entry(api, kind, graph, target, output, known, lowered))
                    # After each, so that a build that is stopped loses none of those before it.
                    yet = [known[name] for name in renewed[len(done) :] if name in known]
                    manifest = self._write_manifest(output, lowered, more | {"engines": done + yet + others})
            return manifest

    def _export(self, place: Path, lowered: bool, capacity: int | None) -> dict[str, Graph]:
        weights = Weights(self.network)
        log.info("exporting %s for %s (%dx%d patches)", self.folder.name, self.size, self.plan.grid_w, self.plan.grid_h)
        return {
            "vision": export_vision(weights, self.plan, place, self.precision, lowered),
            "decoder": export_decoder(weights, place, self.precision, lowered, capacity),
        }

    def _graph_entry(self, kind: str, graph: Graph) -> dict[str, Any]:
        refused = refusals(graph.path)
        if self.lower and refused:
            raise EngineError(f"the lowered {kind} graph is not what TensorRT 10.3 takes: {'; '.join(refused)}")
        data = graph.path.with_suffix(".data")
        return {
            "graph": kind,
            "file": graph.path.name,
            "sha256": graph.sha256,
            "data": {"file": data.name, "bytes": graph.weight_bytes, "sha256": sha256_of(data)},
            "tensorrt_10_3": not refused,
        }

    def _engine_name(self, kind: str, target: str) -> str:
        return f"{kind}-{self.precision.name}-{target}.engine"

    def _engine_entry(
        self,
        api: TensorRT,
        kind: str,
        graph: Graph,
        target: str,
        output: Path,
        known: dict[str, dict[str, Any]],
        lowered: bool,
    ) -> dict[str, Any]:
        decoder = kind == "decoder"
        profiles = decoder_profiles(self.capacity) if decoder else ()
        name = self._engine_name(kind, target)
        made_from = {
            "graph": kind,
            "precision": self.precision.name,
            "target": target,
            **({"capacity": self.capacity} if decoder else {"patch_grid": [self.plan.grid_h, self.plan.grid_w]}),
            "lowered": lowered,
            "graph_version": GRAPH_VERSION,
            "graph_sha256": graph.sha256,
            "built_by": f"{api.name} {api.version}",
            "workspace": self.workspace,
            "profiles": profile_entries(graph, profiles),
        }
        why = _stale(output, name, known.get(name), made_from)
        if why is None:
            log.info("%s is kept: nothing that it depends on has changed", name)
            return known[name]
        log.info("building %s: %s", name, why)
        part = graph.path.with_name(name)
        built = build_engine(api, graph, part, target, profiles, self.workspace)
        digest = sha256_of(part)
        os.replace(part, output / name)
        size = {} if decoder else {"size": self.size}
        return made_from | size | {"file": name, "sha256": digest} | built.to_json()

    def _write_manifest(self, output: Path, lowered: bool, more: dict[str, Any]) -> dict[str, Any]:
        manifest = {
            "model": self.folder.name,
            "weights_sha256": self.weights_sha256,
            "precision": self.precision.name,
            "size": self.size,
            "patch_grid": [self.plan.grid_h, self.plan.grid_w],
            "capacity": self.capacity,
            "lowered": lowered,
            "graph_version": GRAPH_VERSION,
        } | more
        with atomic_write(output / MANIFEST) as part:
            part.write_text(json.dumps(manifest, indent=1) + "\n")
        return manifest

    def _check_space(self, output: Path, targets: int) -> None:
        """The weights in each engine, and in the graphs on the way; integers are counted as fp16."""
        width = 4 if self.precision.name == "fp32" else 2
        needed = width * sum(p.numel() for p in self.network.parameters()) * (targets + 1)
        free = shutil.disk_usage(output).free
        if free < needed:
            raise EngineError(f"{output}: {free / 1e9:.1f} GB are free and about {needed / 1e9:.1f} GB are needed")


def plan_of_size(config: N3DConfig, size: str) -> ImagePlan:
    """The plan of images of a camera's size, `WxH`.

    Raises:
        ConfigError: if it is not of that form. ImageError: if the image would be too elongated.
    """
    image = ImageSize.parse(size)
    return image_plan(config, *patch_grid(image.width, image.height, config))


def _stale(folder: Path, name: str, entry: dict[str, Any] | None, made_from: dict[str, Any]) -> str | None:
    """Why an engine must be built; None if it may be kept."""
    if entry is None or not (folder / name).exists():
        return "it is not there yet"
    for key, value in made_from.items():
        if entry.get(key) != value:
            return (
                "the shapes of its profiles have changed"
                if key == "profiles"
                else f"its {key} was {entry.get(key)} and is {value}"
            )
    return damaged(folder, entry) and "the file there is damaged: its sha256 is not the manifest's"


class _exclusive:  # noqa: N801 - reads as a statement
    """Holds a folder, made if missing; a second process waits. The system frees it when a process is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that compiles to %s", self._folder)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        for left in self._folder.glob(".part-*"):
            shutil.rmtree(left, ignore_errors=True)  # of a process that was killed: the lock says nobody works there

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)
