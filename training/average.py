"""Averages the weights of two checkpoints: `python -m training.average BEFORE AFTER OUTPUT --share 0.5`.

A model and what a short further training made of it lie in one valley of the loss. Between them lies a model that is
often better than both (Wortsman et al., Model soups, arXiv 2203.05482): what was learnt anew stays, what the last steps
moved at random goes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from n3d_core.errors import CheckpointError, N3DError
from n3d_core.network.checkpoint import load_network
from training.learn.checkpoints import Piece, export


def average(before: Path, after: Path, output: Path, share: float) -> None:
    """Writes `(1 - share) * before + share * after`; tokenizer, vocabulary and way of decoding are those of `before`.

    The output has no calibration: fit one to it.

    Raises:
        CheckpointError: if a folder cannot be loaded, or the two are of different sizes, or are the output.
        TrainingError: if the output cannot be written.
    """
    if not 0 <= share <= 1:
        raise CheckpointError(f"--share is {share}: from 0 (all of {before}) to 1 (all of {after}) is wanted")
    if output.resolve() in (before.resolve(), after.resolve()):
        raise CheckpointError(f"{output}: the average of two checkpoints is written into another folder")
    first, second = load_network(before), load_network(after)
    if first.config != second.config:
        raise CheckpointError(f"{before} and {after}: their config.json differ: two states of one model are wanted")
    weights, others = first.state_dict(), second.state_dict()
    pieces = {n: Piece.of(w.lerp(others[n], share)) for n, w in weights.items()}
    export(output, first.config, pieces, before, step=0)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second (0.5)")
    args = parser.parse_args()
    try:
        average(args.before, args.after, args.output, args.share)
    except (N3DError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"output": str(args.output), "share": args.share}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
