"""The engines of a checkpoint folder: built ahead of time if they fit, else from the cache, else built now."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from n3d_core.backends.artifact_cache import cache_root, cached, sha256_of
from n3d_core.backends.export import Graph
from n3d_core.backends.graph_store import GraphStore
from n3d_core.backends.precision import Precision
from n3d_core.backends.tensorrt_api import TensorRT
from n3d_core.backends.tensorrt_builder import CAPACITY, Profile, build_engine, decoder_profiles
from n3d_core.errors import EngineError
from n3d_core.model.plan import ImagePlan

log = logging.getLogger("n3d.tensorrt")

MANIFEST = "manifest.json"


class EngineStore:
    """Engines of one checkpoint for the GPU of this machine.

    Args:
        folder: of the checkpoint.
        api: TensorRT.
        target: architecture of the GPU, such as `sm_89`.
        precision: of the engines.
        ahead: a folder that `n3d compile` wrote; None looks in `engines` of the checkpoint folder.
        build: whether an engine that is missing may be built here.
        workspace: bytes a build may use; see `build_engine`.
        capacity: tokens that the decoder's cache holds.
    """

    def __init__(
        self,
        folder: Path,
        api: TensorRT,
        target: str,
        precision: Precision,
        ahead: Path | None = None,
        build: bool = True,
        workspace: int | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self.api, self.target, self.capacity = api, target, capacity
        lowering = api.needs_lowering(precision)
        if lowering:
            log.info("%s: the graph lowered to opset 19 is used", lowering)
        self.graphs = GraphStore(folder, precision, lowering is not None, None if lowering else capacity)
        self._ahead, self._may_build, self._workspace = ahead or folder / "engines", build, workspace

    def decoder(self) -> Path:
        """The decoder's engine file."""
        found = self._built_ahead("decoder", None)
        return found or self._built_here("decoder", self.graphs.decoder(), decoder_profiles(self.capacity))

    def vision(self, plan: ImagePlan) -> Path:
        """The vision tower's engine file for a patch grid.

        Raises:
            EngineError: if it was compiled for another image size and may not be built here.
        """
        found = self._built_ahead("vision", plan)
        return found or self._built_here("vision", self.graphs.vision(plan), ())

    def kernel_cache(self, engine: Path) -> Path:
        """Where an engine's just-in-time kernels are kept."""
        folder = cache_root() / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{engine.parent.name}-{engine.stem}.kernels"

    def _built_here(self, kind: str, graph: Graph, profiles: tuple[Profile, ...]) -> Path:
        if not self._may_build:
            raise EngineError(f"no {kind} engine for {self.target} in {self._ahead}: `n3d compile` writes one")
        name = f"{kind}-{self.graphs.precision.name}-{self.target}.engine"
        key = {
            "graph": graph.sha256,  # covers weights and precision
            "tensorrt": f"{self.api.name} {self.api.version}",
            "target": self.target,
            "profiles": [[p.name, dict(p.sizes)] for p in profiles],
            "workspace": self._workspace,
        }

        def build(folder: Path) -> None:
            log.info("building %s; this happens once and takes minutes for a large model", name)
            timings = None if self.api.is_rtx else self.kernel_cache(Path(self.target) / "all").with_suffix(".timings")
            build_engine(self.api, graph, folder / name, self.target, profiles, self._workspace, timings)

        return cached("engines", key, build) / name

    def _built_ahead(self, kind: str, plan: ImagePlan | None) -> Path | None:
        """The engine of the `ahead` folder, if there is one that fits; one line says why not."""
        try:
            manifest = json.loads((self._ahead / MANIFEST).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s: not used, it cannot be read (%s)", self._ahead / MANIFEST, error)
            return None
        found = self._fitting(manifest, kind, plan)
        if isinstance(found, Path):
            return found
        log.warning("%s: the %s engine there is not used: %s", self._ahead, kind, found)
        return None

    def _fitting(self, manifest: dict[str, Any], kind: str, plan: ImagePlan | None) -> Path | str:
        """The engine's path, or why none fits."""
        module = f"{self.api.name} {self.api.version}"
        try:
            builder = f"{manifest['tensorrt']['name']} {manifest['tensorrt']['version']}"
            if manifest["weights_sha256"] != self.graphs.weights_sha256:
                return "it was compiled from other weights"
            if builder != module:
                return f"it was built by {builder}, and {module} is installed"
            if manifest["capacity"] != self.capacity:
                return f"its cache holds {manifest['capacity']} tokens, and {self.capacity} are wanted"
            if plan is not None and manifest["patch_grid"] != [plan.grid_h, plan.grid_w]:
                there, here = manifest["patch_grid"], [plan.grid_h, plan.grid_w]
                return (
                    f"it was compiled for {manifest['size']} ({there[1]}x{there[0]} patches), "
                    f"and the image gives {here[1]}x{here[0]}"
                )
            wanted = (kind, self.graphs.precision.name, self.target)
            for entry in manifest["engines"]:
                if (entry["graph"], entry["precision"], entry["target"]) == wanted:
                    file = self._ahead / str(entry["file"])
                    if not file.exists() or sha256_of(file) != entry["sha256"]:
                        return f"{file.name} is missing or damaged: its sha256 is not the manifest's"
                    return file
        except (KeyError, TypeError) as error:
            return f"its manifest is not one of n3d compile's ({type(error).__name__}: {error})"
        return f"none for {self.target} in {self.graphs.precision.name}"
