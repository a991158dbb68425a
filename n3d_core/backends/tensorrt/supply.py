"""Finds engines: in a folder written by `n3d compile`, else in the user's cache, else by building them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from n3d_core.backends.export.graph import Graph, GraphStore
from n3d_core.backends.export.precision import Precision
from n3d_core.backends.store import Artifact, Store, cache_root, damage
from n3d_core.backends.tensorrt.api import TensorRT
from n3d_core.backends.tensorrt.engine import CAPACITY, Engine, Profile, build_engine, decoder_profiles
from n3d_core.errors import EngineError
from n3d_core.network.plan import ImagePlan

log = logging.getLogger("n3d.tensorrt")

_SAME = ("graph", "precision", "target")  # fields that must match before other differences are reported


class EngineStore:
    """Engines of one checkpoint for one GPU architecture.

    Args:
        folder: the checkpoint folder.
        api: the TensorRT module.
        target: architecture of the GPU, such as `sm_89`.
        precision: the engines' precision.
        ahead: a folder written by `n3d compile`; None is `engines` in the checkpoint folder.
        build: whether a missing engine may be built.
        workspace: bytes that a build may use; see `build_engine`.
        capacity: tokens in the decoder's cache; None takes the value of a matching prebuilt engine (`n3d compile
            --cache`), or `CAPACITY` without one.
        lower: whether to lower the graph even if this TensorRT supports the canonical one.
        store: where to build engines; None is the user's cache.
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
        capacity: int | None = None,
        lower: bool = False,
        store: Store | None = None,
    ) -> None:
        self.api, self.target = api, target
        reason = "asked for" if lower else api.needs_lowering(precision)
        if reason:
            log.info("lowering the graph to opset 19: %s", reason)
        self.graphs = GraphStore(folder, precision, reason is not None)
        self.store = store or Store()
        self._ahead = Store(ahead or folder / "engines", setting="--output")
        self._may_build, self._workspace = build, workspace
        self.capacity = capacity or self._capacity_ahead() or CAPACITY
        self.graphs.capacity = None if reason else self.capacity

    def decoder(self) -> Path:
        """The decoder's engine file.

        Raises:
            EngineError: if none matches and it cannot or may not be built.
        """
        return self._ahead_or("decoder", self.decoder_key(), self._decoder_here)

    def vision(self, plan: ImagePlan) -> Path:
        """The vision tower's engine file for a patch grid; see `decoder`."""
        return self._ahead_or("vision", self.vision_key(plan), lambda: self._vision_here(plan))

    def open_decoder(self) -> Engine:
        """The decoder's engine, loaded; see `open_vision`."""
        return self._opened(self.decoder(), self._decoder_here)

    def open_vision(self, plan: ImagePlan) -> Engine:
        """The vision tower's engine, loaded. If TensorRT cannot load it, it is rebuilt, and the reason is logged.

        Raises:
            EngineError: if the rebuilt engine cannot be loaded either, memory is too small, or it may not be built.
        """
        return self._opened(self.vision(plan), lambda: self._vision_here(plan))

    def decoder_key(self) -> dict[str, Any]:
        """Everything that the decoder's engine depends on, except its workspace."""
        return self._engine_key(self.graphs.decoder_key(self.capacity))

    def vision_key(self, plan: ImagePlan) -> dict[str, Any]:
        """Everything that the tower's engine depends on, except its workspace."""
        return self._engine_key(self.graphs.vision_key(plan) | {"precision": self.graphs.precision.name})

    def kernel_cache(self, engine: Path) -> Path:
        """The file for an engine's just-in-time kernels."""
        place = hashlib.sha256(str(engine.resolve()).encode()).hexdigest()[:12]
        return Store().root / "kernels" / f"{place}-{engine.stem}.kernels"

    def decoder_artifact(self) -> Artifact:
        """The decoder's engine in the store, built if necessary."""
        return self._built(self.decoder_key(), self.graphs.decoder, decoder_profiles(self.capacity))

    def vision_artifact(self, plan: ImagePlan, size: str | None = None) -> Artifact:
        """The tower's engine in the store, built if necessary; `size` is the camera's, for display."""
        return self._built(self.vision_key(plan), lambda: self.graphs.vision(plan), (), {"size": size} if size else {})

    def _built(
        self,
        key: dict[str, Any],
        graph: Callable[[], Graph],
        profiles: tuple[Profile, ...],
        notes: dict[str, Any] | None = None,
    ) -> Artifact:
        name = f"{key['graph']}-{key['precision']}-{key['target']}"

        def build(folder: Path) -> dict[str, Any]:
            log.info("building %s.engine; this is done once and takes minutes for a large model", name)
            timings = None if self.api.is_rtx else cache_root() / f"{self.target}.timings"
            source = graph()
            made = build_engine(
                self.api, source, folder / f"{name}.engine", self.target, profiles, self._workspace, timings
            )
            more = {"graph_sha256": source.sha256, "workspace": self._workspace} | (notes or {})
            return more | made

        there = self.store.find(key)
        if there is not None and self._workspace is not None and there.notes.get("workspace") != self._workspace:
            log.info("rebuilding %s.engine: its workspace was %s bytes", name, there.notes.get("workspace"))
            self.store.discard(there.folder)
        return self.store.get(name, key, build)

    def _engine_key(self, graph: dict[str, Any]) -> dict[str, Any]:
        return graph | {"target": self.target, "built_by": f"{self.api.name} {self.api.version}"}

    def _decoder_here(self) -> Path:
        self._require_building("decoder")
        return engine_file(self.decoder_artifact())

    def _vision_here(self, plan: ImagePlan) -> Path:
        self._require_building("vision")
        return engine_file(self.vision_artifact(plan))

    def _require_building(self, graph: str) -> None:
        if not self._may_build:
            raise EngineError(
                f"no {graph} engine for {self.target} in {self._ahead.root}: build one with `n3d compile`"
            )

    def _opened(self, file: Path, build: Callable[[], Path]) -> Engine:
        try:
            return Engine(self.api, file, self.kernel_cache(file))
        except EngineError as error:
            if not self._may_build or "memory" in str(error).lower():
                raise
            log.warning("rebuilding %s: %s", file, error)
        if file.parent.parent == self.store.root:
            self.store.discard(file.parent)
        again = build()
        return Engine(self.api, again, self.kernel_cache(again))

    def _ahead_or(self, graph: str, key: dict[str, Any], here: Callable[[], Path]) -> Path:
        """The matching engine in the `ahead` folder, if any; logs why there is none."""
        found = self._ahead.find(key)
        if found is not None:
            return engine_file(found)
        listed = self._ahead.artifacts()
        if any("target" in artifact.key for artifact in listed):
            why = misfit(key, listed)
            log.warning("%s: not using the %s engine: %s", self._ahead.root, graph, why)
        return here()

    def _capacity_ahead(self) -> int | None:
        """Cache length of the latest prebuilt decoder that matches otherwise; None if there is none."""
        for artifact in self._ahead.artifacts():  # if there are none, the weights need not be hashed
            wanted = self._engine_key(self.graphs.decoder_key(artifact.key.get("capacity")))
            if artifact.key == wanted:
                return int(artifact.key["capacity"])
        return None


def engine_file(artifact: Artifact) -> Path:
    """The engine of an artifact."""
    return artifact.folder / next(name for name in artifact.files if name.endswith(".engine"))


def misfit(wanted: dict[str, Any], listed: list[Artifact]) -> str:
    """Why none of the listed engines matches: how the closest one differs, in one line."""
    alike = [a for a in listed if all(a.key.get(field) == wanted[field] for field in _SAME)]
    if not alike:
        return f"none for {wanted['target']} in {wanted['precision']}"
    nearest = min(alike, key=lambda a: sum(a.key.get(field) != value for field, value in wanted.items()))
    for field, value in wanted.items():
        if nearest.key.get(field) != value:
            return _difference(field, nearest, value, str(wanted["built_by"]))
    return damage(nearest.folder, wanted) or "it cannot be read"


def _difference(field: str, found: Artifact, wanted: Any, tensorrt: str) -> str:
    has = found.key.get(field)
    if field == "lowered":
        forms, option = {True: "lowered to opset 19", False: "canonical"}, "with" if wanted else "without"
        return (
            f"its graph is {forms[bool(has)]}, but {tensorrt} needs the {forms[bool(wanted)]} one: "
            f"compile it again {option} --lower"
        )
    if field == "patch_grid" and isinstance(has, list) and len(has) == 2:
        size = found.notes.get("size", "another size")
        return f"it was compiled for {size} ({has[1]}x{has[0]} patches), but the image has {wanted[1]}x{wanted[0]}"
    return {
        "weights": "it was compiled from other weights",
        "built_by": f"it was built by {has}, but {wanted} is installed",
        "capacity": f"its cache holds {has} tokens, but {wanted} are needed",
        "graph_version": f"it was compiled from graphs of version {has}, but this package writes version {wanted}: "
        "compile it again",
    }.get(field, f"its {field} is {has}, but {wanted} is needed")
