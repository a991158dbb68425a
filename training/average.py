"""Averages the weights of two checkpoints: `python -m training.average BEFORE AFTER OUTPUT --share 0.5`.

A model and a short fine-tuning of it are in the same valley of the loss, and their average is often better than both
(Wortsman et al., Model soups, arXiv 2203.05482): it keeps what was learnt and averages out the noise of the last steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from n3d_core.errors import CheckpointError
from n3d_core.network.checkpoint import load_network
from training.entry.command import described, run_command
from training.learn.checkpoints import Piece, export


def average(before: Path, after: Path, output: Path, share: float) -> None:
    """Writes `(1 - share) * before + share * after`; tokenizer, vocabulary and generation config come from `before`.

    The output has no calibration: fit a new one.

    Raises:
        CheckpointError: if a folder cannot be loaded, is the output, or the two differ in size.
        TrainingError: if the output cannot be written.
    """
    if not 0 <= share <= 1:
        raise CheckpointError(f"--share must be from 0 (all of {before}) to 1 (all of {after}); got {share}")
    if output.resolve() in (before.resolve(), after.resolve()):
        raise CheckpointError(f"{output}: write the average of two checkpoints into another folder")
    first, second = load_network(before), load_network(after)
    if first.config != second.config:
        raise CheckpointError(f"{before} and {after}: their config.json differ; they must be two states of one model")
    weights, others = first.state_dict(), second.state_dict()
    pieces = {n: Piece.of(w.lerp(others[n], share)) for n, w in weights.items()}
    export(output, first.config, pieces, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = described(__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second (0.5)")
    return run_command(_average, parser, arguments)


def _average(args: argparse.Namespace) -> dict[str, Any]:
    average(args.before, args.after, args.output, args.share)
    return {"output": str(args.output), "share": args.share}


if __name__ == "__main__":
    raise SystemExit(main())
