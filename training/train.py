"""Trains N3D-VLM from one YAML file.

    python -m training.train training/configs/tiny_localisation.yaml [key=value ...]
    torchrun --nproc-per-node 8 -m training.train training/configs/3b_localisation.yaml

Checkpoints are whole or absent; a killed training goes on from the last one as if it had never stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from training.entry.command import described, run_command
from training.learn.checkpoints import TrainingError
from training.learn.config import TrainConfig
from training.learn.loop import Trainer
from training.learn.parallel import Processes


def train(args: argparse.Namespace) -> None:
    """Trains what a YAML file and overrides say."""
    config = TrainConfig.from_yaml(args.config, args.overrides)
    processes = Processes.start()
    try:
        Trainer(config, processes).run()
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{processes.device} is out of memory: set a smaller batch with a larger accumulate, checkpointing: true, "
            f"fewer data.tokens, or start more processes ({str(error).splitlines()[0]})"
        ) from error
    finally:
        processes.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = described(__doc__)
    parser.add_argument("config", help="YAML file, see training/configs")
    parser.add_argument("overrides", nargs="*", help="key=value, for example optim.lr=1e-4")
    return run_command(train, parser, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
