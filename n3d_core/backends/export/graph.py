"""Exports the vision tower (for one image size) and the decoder as graphs on disk."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from n3d_core.backends.export.builder import GraphBuilder, NetworkWeights
from n3d_core.backends.export.decoder_graph import DecoderGraph
from n3d_core.backends.export.dialect import Dialect, Opset19, refusals
from n3d_core.backends.export.precision import Precision
from n3d_core.backends.export.vision_graph import VisionGraph
from n3d_core.backends.sequence import EmbeddingTable
from n3d_core.backends.store import Store, model_digest
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.plan import ImagePlan

log = logging.getLogger("n3d.export")

GRAPH_VERSION = 1  # incremented when the exporter's graphs change


@dataclass(frozen=True)
class Graph:
    """An exported graph on disk: `path`, and its weights in a `.data` file of the same name next to it."""

    path: Path

    @property
    def sha256(self) -> str:
        """sha256 of the graph file. Its metadata contain the weights' sha256, so it covers both graph and weights."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def weight_bytes(self) -> int:
        """Size of the weights."""
        return self.path.with_suffix(".data").stat().st_size


def export_vision(
    weights: NetworkWeights, plan: ImagePlan, folder: Path, precision: Precision, lowered: bool = False
) -> Graph:
    """Writes `vision.onnx` for the patch grid of `plan`. Integer precisions leave the tower in their computing type."""
    dialect = _dialect(precision, lowered, bits=None)
    with GraphBuilder("n3d_vision", dialect.opset, folder / "vision.data") as g:
        VisionGraph(g, dialect, weights, plan, precision.compute).build()
        metadata = {"graph": "vision", "precision": precision.compute, "patch_grid": f"{plan.grid_h}x{plan.grid_w}"}
        g.save(folder / "vision.onnx", metadata)
    return Graph(folder / "vision.onnx")


def export_decoder(
    weights: NetworkWeights, folder: Path, precision: Precision, lowered: bool = False, capacity: int | None = None
) -> Graph:
    """Writes `decoder.onnx`, with a cache of symbolic length, or of `capacity` tokens (see `DecoderGraph`)."""
    dialect = _dialect(precision, lowered, bits=precision.weight_bits)
    with GraphBuilder("n3d_decoder", dialect.opset, folder / "decoder.data") as g:
        DecoderGraph(g, dialect, weights, precision, capacity).build()
        g.save(folder / "decoder.onnx", {"graph": "decoder", "precision": precision.name, "compute": precision.compute})
    return Graph(folder / "decoder.onnx")


def _dialect(precision: Precision, lowered: bool, bits: int | None) -> Dialect:
    if not lowered:
        return Dialect()
    return Opset19(opset=21 if bits == 4 else 19)  # 4-bit weights came with opset 21


class GraphStore:
    """Graphs of one checkpoint in one precision, exported on first use and kept in a store.

    Args:
        folder: the checkpoint folder.
        precision: the graphs' precision.
        lowered: whether to use opset 19's primitives.
        capacity: length of the decoder's cache; None leaves it symbolic.
        store: where to keep them; None is the user's cache.
    """

    def __init__(
        self,
        folder: Path,
        precision: Precision,
        lowered: bool = False,
        capacity: int | None = None,
        store: Store | None = None,
    ) -> None:
        self.folder, self.precision, self.lowered, self.capacity = folder, precision, lowered, capacity
        self.store = store or Store()
        self.config = N3DConfig.from_file(folder / "config.json")

    @cached_property
    def table(self) -> EmbeddingTable:
        """The embedding table in the checkpoint's file."""
        return EmbeddingTable.of_checkpoint(self.folder)

    @cached_property
    def weights_sha256(self) -> str:
        """Identifies the checkpoint."""
        return model_digest(self.folder)

    def vision(self, plan: ImagePlan) -> Graph:
        """The tower's graph for a patch grid. Integer precisions leave the tower in their computing type."""

        def build(folder: Path) -> dict[str, Any]:
            log.info("exporting the vision tower for %dx%d patches", plan.grid_w, plan.grid_h)
            return _noted(export_vision(self._weights(), plan, folder, self.precision, self.lowered))

        key = self.vision_key(plan)
        return Graph(self.store.get(f"vision-{self.precision.compute}", key, build).folder / "vision.onnx")

    def decoder(self) -> Graph:
        """The decoder's graph."""

        def build(folder: Path) -> dict[str, Any]:
            log.info("exporting the decoder in %s", self.precision.name)
            return _noted(export_decoder(self._weights(), folder, self.precision, self.lowered, self.capacity))

        key = self.decoder_key(self.capacity)
        return Graph(self.store.get(f"decoder-{self.precision.name}", key, build).folder / "decoder.onnx")

    def vision_key(self, plan: ImagePlan) -> dict[str, Any]:
        """Everything that the tower's graph depends on."""
        return self._key("vision", self.precision.compute) | {"patch_grid": [plan.grid_h, plan.grid_w]}

    def decoder_key(self, capacity: int | None) -> dict[str, Any]:
        """Everything that the decoder's graph depends on."""
        return self._key("decoder", self.precision.name) | {"capacity": capacity}

    def _key(self, graph: str, precision: str) -> dict[str, Any]:
        return {
            "graph": graph,
            "weights": self.weights_sha256,
            "precision": precision,
            "compute": self.precision.compute,
            "lowered": self.lowered,
            "graph_version": GRAPH_VERSION,
        }

    def _weights(self) -> NetworkWeights:
        return NetworkWeights(load_network(self.folder, dtype=None))


def _noted(graph: Graph) -> dict[str, Any]:
    return {"graph_sha256": graph.sha256, "tensorrt_10_3": not refusals(graph.path)}
