"""The exported graphs of a checkpoint folder, kept in the cache and written when they are first asked for."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

from n3d_core.backends.artifact_cache import cached
from n3d_core.backends.embedding_table import EmbeddingTable
from n3d_core.backends.export import Graph, export_decoder, export_vision
from n3d_core.backends.model_digest import model_digest
from n3d_core.backends.precision import BLOCK, Precision
from n3d_core.backends.weights import NetworkWeights
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.plan import ImagePlan

log = logging.getLogger("n3d.export")

GRAPH_VERSION = 1  # raised when the exporter writes other graphs


class GraphStore:
    """Graphs of one checkpoint in one precision.

    Args:
        folder: of the checkpoint.
        precision: of the graphs.
        lowered: whether they are spelled in opset 19's primitives.
        capacity: of the decoder's cache; None leaves it symbolic.
    """

    def __init__(self, folder: Path, precision: Precision, lowered: bool = False, capacity: int | None = None) -> None:
        self.folder, self.precision, self.lowered, self.capacity = folder, precision, lowered, capacity
        self.config = N3DConfig.from_file(folder / "config.json")

    @cached_property
    def table(self) -> EmbeddingTable:
        """The embedding table, in the checkpoint's file."""
        return EmbeddingTable.of_checkpoint(self.folder)

    @cached_property
    def weights_sha256(self) -> str:
        """Identifies the checkpoint."""
        return model_digest(self.folder)

    def vision(self, plan: ImagePlan) -> Graph:
        """The tower's graph for a patch grid. Integer precisions leave the tower in their computing type."""
        key = self._key("vision") | {"precision": self.precision.compute, "grid": [plan.grid_h, plan.grid_w]}

        def build(folder: Path) -> None:
            log.info("exporting the vision tower for %dx%d patches", plan.grid_w, plan.grid_h)
            export_vision(self._weights(), plan, folder, self.precision, self.lowered)

        return Graph(cached("graphs", key, build) / "vision.onnx")

    def decoder(self) -> Graph:
        """The decoder's graph."""
        key = self._key("decoder") | {
            "precision": self.precision.name,
            "compute": self.precision.compute,
            "block": BLOCK,
            "capacity": self.capacity,
        }

        def build(folder: Path) -> None:
            log.info("exporting the decoder in %s", self.precision.name)
            export_decoder(self._weights(), folder, self.precision, self.lowered, self.capacity)

        return Graph(cached("graphs", key, build) / "decoder.onnx")

    def _key(self, kind: str) -> dict[str, object]:
        return {"kind": kind, "weights": self.weights_sha256, "version": GRAPH_VERSION, "lowered": self.lowered}

    def _weights(self) -> NetworkWeights:
        return NetworkWeights(load_network(self.folder, dtype=None))
