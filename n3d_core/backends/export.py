"""Writes the network as ONNX graphs: the vision tower for one image size, and the decoder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx

from n3d_core.backends.decoder_graph import DecoderGraph
from n3d_core.backends.dialect import Dialect, Opset19, Opset24
from n3d_core.backends.graph_builder import GraphBuilder
from n3d_core.backends.precision import Precision
from n3d_core.backends.vision_graph import VisionGraph
from n3d_core.backends.weights import Weights
from n3d_core.network.plan import ImagePlan


@dataclass(frozen=True)
class Graph:
    """An exported graph on disk: `path`, and its weights in a `.data` file of the same name beside it."""

    path: Path

    @property
    def sha256(self) -> str:
        """Of the graph file, whose metadata hold the weights' sha256: equal hashes mean equal graphs and weights."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def weight_bytes(self) -> int:
        """Size of the weights."""
        return self.path.with_suffix(".data").stat().st_size

    @property
    def metadata(self) -> dict[str, str]:
        """What the exporter noted in the file."""
        return {p.key: p.value for p in onnx.load(str(self.path), load_external_data=False).metadata_props}


def export_vision(
    weights: Weights, plan: ImagePlan, folder: Path, precision: Precision, lowered: bool = False
) -> Graph:
    """Writes `vision.onnx` for the patch grid of `plan`. Integer precisions leave the tower in their computing type."""
    dialect = _dialect(precision, lowered, bits=None)
    with GraphBuilder("n3d_vision", dialect.opset, folder / "vision.data") as g:
        VisionGraph(g, dialect, weights, plan, precision.compute).build()
        metadata = {"graph": "vision", "precision": precision.compute, "patch_grid": f"{plan.grid_h}x{plan.grid_w}"}
        g.save(folder / "vision.onnx", metadata)
    return Graph(folder / "vision.onnx")


def export_decoder(
    weights: Weights, folder: Path, precision: Precision, lowered: bool = False, capacity: int | None = None
) -> Graph:
    """Writes `decoder.onnx`, with a cache of symbolic length, or of `capacity` tokens (see `DecoderGraph`)."""
    dialect = _dialect(precision, lowered, bits=precision.weight_bits)
    with GraphBuilder("n3d_decoder", dialect.opset, folder / "decoder.data") as g:
        DecoderGraph(g, dialect, weights, precision, capacity).build()
        g.save(folder / "decoder.onnx", {"graph": "decoder", "precision": precision.name, "compute": precision.compute})
    return Graph(folder / "decoder.onnx")


def _dialect(precision: Precision, lowered: bool, bits: int | None) -> Dialect:
    if not lowered:
        return Opset24()
    return Opset19(opset=21 if bits == 4 else 19)  # 4-bit weights came with opset 21
