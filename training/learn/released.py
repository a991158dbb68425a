"""A training's model in released form: adapters and number map folded into plain weights, the rest dropped."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from training.learn.checkpoints import Piece
from training.learn.lora import adapters_of, released_name
from training.learn.model import TrainingModel
from training.learn.parallel import whole

_TABLE = "model.embed_tokens.weight"


def released_pieces(model: TrainingModel, best: Mapping[str, Tensor]) -> dict[str, Piece]:
    """The tensors of a checkpoint folder, each assembled when it is written.

    Weights that are trained, or have an adapter folded in, are fp32; frozen ones keep their type.

    Args:
        best: what is trained, by parameter name.
    """
    values = {name: best.get(name, parameter) for name, parameter in model.named_parameters()}
    inside = {name.removeprefix("network."): v for name, v in values.items() if name.startswith("network.")}
    adapters = adapters_of(model.network)
    out: dict[str, Piece] = {}
    for name, value in inside.items():
        released = released_name(name)
        if released is None:
            continue
        if released in adapters:
            down, up, scale = adapters[released]
            out[released] = _folded(value, inside[down], inside[up], scale)
        elif released == _TABLE and model.softeners is not None:
            out[released] = _with_numbers(model, value, values["number_map"])
        else:
            out[released] = Piece.of(value)
    return out


def _folded(base: Tensor, down: Tensor, up: Tensor, scale: float) -> Piece:
    def make() -> Tensor:
        return whole(base).float() + scale * (whole(up).float() @ whole(down).float())

    return Piece(tuple(base.shape), torch.float32, make)


def _with_numbers(model: TrainingModel, table: Tensor, number_map: Tensor) -> Piece:
    def make() -> Tensor:
        rows = whole(table)
        return rows.index_add(0, model.number_ids.cpu(), (model.features.cpu() @ whole(number_map)).to(rows.dtype))

    return Piece(tuple(table.shape), table.dtype, make)
