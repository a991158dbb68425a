"""Chooses free tokens from their logits, as a checkpoint's `generation_config.json` or the caller asks.

Reported probabilities are not affected.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CheckpointError, ConfigError, reading
from n3d_core.network.config import N3DConfig

SamplingName = Literal["checkpoint", "greedy", "released"]
BoxNumbers = Literal["likeliest", "median"]
"""How a box number that is one token is chosen from its distribution: the mode or the median. A model trained with
soft targets spreads probability over neighbouring bins, where the mode of many small values is noisy and the median
is stable."""


@dataclass(frozen=True)
class GenerationDefaults:
    """A checkpoint's end tokens and penalties. Its sampling settings are not used: the released scripts override them.

    Attributes:
        eos_token_ids: tokens that end a reply.
        repetition_penalty: used with `released` sampling; 1 disables it.
        box_numbers: how `checkpoint` sampling chooses box numbers; this project's key, `likeliest` if missing.

    Raises:
        CheckpointError: if there is no end token, the penalty is not positive, or `box_numbers` is unknown.
    """

    eos_token_ids: tuple[int, ...]
    repetition_penalty: float = 1.0
    box_numbers: BoxNumbers = "likeliest"

    def __post_init__(self) -> None:
        if not self.eos_token_ids:
            raise CheckpointError("generation_config.json has no end token: set eos_token_id")
        if not 0 < self.repetition_penalty < math.inf:
            raise CheckpointError(
                f"generation_config.json: repetition_penalty must be a positive number; got {self.repetition_penalty}"
            )
        if self.box_numbers not in get_args(BoxNumbers):
            wanted = " or ".join(get_args(BoxNumbers))
            raise CheckpointError(f"generation_config.json: box_numbers must be {wanted}; got {self.box_numbers!r}")

    @classmethod
    def from_folder(cls, folder: str | Path, config: N3DConfig) -> GenerationDefaults:
        """Reads a checkpoint folder; transformers' defaults apply if the file or a key is missing.

        Raises:
            CheckpointError: if the file is damaged or a value is invalid.
        """
        path = Path(folder) / "generation_config.json"
        if not path.exists():
            return cls((config.eos_token_id,))
        with reading(path, "generation settings", CheckpointError):
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            ends, penalty = data.get("eos_token_id"), data.get("repetition_penalty")
            ends = config.eos_token_id if ends is None else ends
            return cls(
                tuple(int(i) for i in (ends if isinstance(ends, list) else [ends])),
                1.0 if penalty is None else float(penalty),
                data.get("box_numbers") or "likeliest",
            )


@dataclass(frozen=True)
class Sampling:
    """Sampling settings. The default is greedy; `released` is the reference script's setting.

    Attributes:
        temperature: 0 for greedy.
        top_p, top_k: nucleus and count limits, applied as in transformers (k first, then p); 1 and 0 disable them.
        repetition_penalty: divides positive and multiplies negative logits of ids in the context; 1 disables it.
        seed: of the generator.
        box_numbers: how box numbers are chosen at temperature 0.

    Raises:
        ConfigError: if a value is out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 0
    box_numbers: BoxNumbers = "likeliest"

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0 or self.repetition_penalty <= 0:
            raise ConfigError(
                f"sampling needs temperature >= 0, 0 < top_p <= 1, top_k >= 0 and repetition_penalty > 0; got {self}"
            )
        if self.seed < 0:
            raise ConfigError(f"the sampling seed must be at least 0; got {self.seed}")

    @classmethod
    def named(cls, name: str, defaults: GenerationDefaults, seed: int = 0) -> Sampling:
        """The settings for a name and a checkpoint's defaults.

        Args:
            name: `greedy`; `checkpoint`: greedy, with the checkpoint's choice of box numbers; or `released`: as in the
                released scripts.

        Raises:
            ConfigError: if the name is unknown.
        """
        if name not in get_args(SamplingName):
            raise ConfigError(f"sampling must be one of {', '.join(get_args(SamplingName))}; got {name!r}")
        if name == "released":
            return cls.released(defaults.repetition_penalty, seed)
        return cls(seed=seed, box_numbers=defaults.box_numbers if name == "checkpoint" else "likeliest")

    @classmethod
    def released(cls, repetition_penalty: float = 1.05, seed: int = 0) -> Sampling:
        """Temperature 0.6, top-p 0.95, top-k 10, and the checkpoint's own penalty."""
        return cls(0.6, 0.95, 10, repetition_penalty, seed)

    def penalised(self, row: NDArray[np.float32], context: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits [vocab] with the repetition penalty applied to the context's ids."""
        if self.repetition_penalty == 1.0:
            return row
        row, seen = row.copy(), np.unique(context)
        row[seen] = np.where(row[seen] > 0, row[seen] / self.repetition_penalty, row[seen] * self.repetition_penalty)
        return row

    def draw(self, scores: NDArray[np.float32], random: np.random.Generator) -> int:
        """A token id: the likeliest at temperature 0, otherwise drawn after top-k and top-p."""
        if self.temperature == 0:
            return int(scores.argmax())
        shares = self.truncated(scores / self.temperature)
        return int(random.choice(len(shares), p=shares))

    def truncated(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities after top-k, then top-p (the token that crosses the limit stays), as in transformers."""
        order = np.argsort(-scores, kind="stable")
        if self.top_k:
            order = order[: self.top_k]
        shares = softmax(scores[order].astype(np.float64))
        kept = np.concatenate([[True], np.cumsum(shares)[:-1] < self.top_p])
        out = np.zeros(len(scores))
        out[order[kept]] = shares[kept] / shares[kept].sum()
        return out


def softmax(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Probabilities of scores [N]."""
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def median_id(probabilities: NDArray[np.floating], ladder: NDArray[np.int64]) -> int:
    """The median id of an ordered list of ids."""
    upto = np.cumsum(probabilities[ladder], dtype=np.float64)
    return int(ladder[np.searchsorted(upto, upto[-1] / 2)])
