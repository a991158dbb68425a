"""What a training writes: the state to go on from, and the model in released form. Each file is whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from n3d_core.atomic_write import atomic_write
from n3d_core.decoding.calibration import CALIBRATION
from n3d_core.network.checkpoint import save_checkpoint
from n3d_core.network.config import N3DConfig
from training.learn.errors import TrainingError
from training.scenes.vocabulary import VOCABULARY

RESUME = "resume.safetensors"
COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", VOCABULARY)
"""Files of a checkpoint folder that belong to all states of a model; `calibration.json` belongs to its weights."""


@dataclass(frozen=True)
class State:
    """A training at one step, as whole tensors in host memory.

    Attributes:
        model: what is trained, by parameter name.
        average: its moving average, empty where none is kept.
        optimiser: state of the optimisers, see `Optimiser.tensors`.
    """

    step: int
    model: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]

    @property
    def best(self) -> Mapping[str, Tensor]:
        """The average where there is one."""
        return self.average or self.model


def save_state(path: Path, state: State, config: Mapping[str, object]) -> None:
    """Writes the state to go on from; the one that is there stays until the new one is whole.

    Raises:
        TrainingError: if it cannot be written, as on a full disk.
    """
    tensors = {f"model/{k}": v for k, v in state.model.items()}
    tensors |= {f"average/{k}": v for k, v in state.average.items()}
    tensors |= {f"optimiser/{k}": v for k, v in state.optimiser.items()}
    metadata = {"step": str(state.step), "config": json.dumps(config)}
    _whole(path, lambda part: save_file(tensors, str(part), metadata=metadata))


def load_state(path: Path) -> State:
    """Reads what `save_state` wrote.

    Raises:
        TrainingError: if the file is missing, cut short or of another kind.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            step = int((file.metadata() or {})["step"])
        tensors = load_file(str(path))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{path}: not the state of a training, or cut short ({error}): restore it, or choose another output folder"
        ) from error
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
    for name, value in tensors.items():
        kind, _, key = name.partition("/")
        parts[kind][key] = value
    return State(step, **parts)


def export(folder: Path, config: N3DConfig, weights: Mapping[str, Tensor], source: Path, step: int) -> None:
    """Writes a checkpoint folder in released form, with the tokenizer of the folder that the training began from.

    Raises:
        TrainingError: if it cannot be written.
    """
    try:
        save_checkpoint(folder, config, weights, {"step": str(step)})
        bring_along(COMPANIONS, source, folder)
        (folder / CALIBRATION).unlink(missing_ok=True)  # of other weights: it would give these false scores
    except (OSError, SafetensorError) as error:
        raise _unwritten(folder, error) from error


def bring_along(names: Sequence[str], source: Path, target: Path) -> None:
    """Copies files of a folder; those that it lacks are removed from the target, where another model left them."""
    for name in names:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors into one file.

    Raises:
        TrainingError: if it cannot be written.
    """
    _whole(path, lambda part: save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, str(part)))


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    try:
        with atomic_write(path) as part:
            write(part)
    except (OSError, SafetensorError) as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"{path}: cannot be written ({error}); what was saved before is kept: free the disk and run again"
    )
