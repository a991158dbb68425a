"""A checkpoint's decoding defaults: `generation_config.json`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from n3d_core.errors import CheckpointError
from n3d_core.network.config import N3DConfig

BoxNumbers = Literal["likeliest", "median"]
"""How a box number that is one token is chosen from its distribution: the mode or the median. A model trained with
soft targets spreads probability over neighbouring bins, where the mode of many small values is noisy and the median
is stable."""


@dataclass(frozen=True)
class GenerationDefaults:
    """The settings that are used here. The file's sampling settings are not: the released scripts override them.

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
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            ends, penalty = data.get("eos_token_id"), data.get("repetition_penalty")
            ends = config.eos_token_id if ends is None else ends
            return cls(
                tuple(int(i) for i in (ends if isinstance(ends, list) else [ends])),
                1.0 if penalty is None else float(penalty),
                data.get("box_numbers") or "likeliest",
            )
        except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
