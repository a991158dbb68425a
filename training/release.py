"""Makes the shipped model folder from a training's export: `python -m training.release RUN/model models/n3d-tiny`.

Weights are stored in fp16, whatever type the network is later loaded in; tokenizer, vocabulary and calibration are
copied. The model card is written by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from n3d_core.decoding.calibration import CALIBRATION
from n3d_core.errors import CheckpointError
from n3d_core.network.checkpoint import WEIGHTS, load_network
from training.entry.command import described, run_command
from training.learn.checkpoints import Piece, bring_along, export


def release(source: Path, target: Path) -> dict[str, float]:
    """Writes the shipped form of a checkpoint folder; returns its size and the largest rounding error of a weight.

    Raises:
        CheckpointError: if the source cannot be loaded, or a weight does not fit fp16.
        TrainingError: if the target cannot be written.
    """
    if source.resolve() == target.resolve():
        raise CheckpointError(f"{source}: release it into another folder")
    network = load_network(source)
    state = network.state_dict()
    half = {name: value.half() for name, value in state.items()}
    for name, value in half.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{source}: {name} does not fit fp16: ship it in fp32")
    worst = max(float((half[name].float() - value).abs().max()) for name, value in state.items())
    export(target, network.config, {name: Piece.of(value) for name, value in half.items()}, source)
    bring_along((CALIBRATION,), source, target)
    return {"megabytes": (target / WEIGHTS).stat().st_size / 1e6, "largest_rounding": worst}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = described(__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    return run_command(lambda args: release(args.source, args.target), parser, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
