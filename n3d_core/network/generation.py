"""How a checkpoint asks to be decoded: `generation_config.json`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from n3d_core.errors import CheckpointError
from n3d_core.network.config import N3DConfig

BoxNumbers = Literal["likeliest", "median"]
"""How a number of a box is chosen from its distribution, where it is one token: by its mode or by its median. A model
that was taught that near is nearly right spreads its shares over neighbouring bins, and the largest of many small
shares is an accident; half of them lie on either side of the median."""


@dataclass(frozen=True)
class GenerationDefaults:
    """What counts of it here. How to sample, which the file says too, is the released scripts' own to say.

    Attributes:
        eos_token_ids: each ends a reply.
        repetition_penalty: of the released way of decoding; 1 for none.
        box_numbers: how the checkpoint's own way of decoding chooses them; our key, `likeliest` where it is missing.

    Raises:
        CheckpointError: if there is no end token, the penalty is not positive, or numbers are chosen in no known way.
    """

    eos_token_ids: tuple[int, ...]
    repetition_penalty: float = 1.0
    box_numbers: BoxNumbers = "likeliest"

    def __post_init__(self) -> None:
        if not self.eos_token_ids:
            raise CheckpointError("generation_config.json names no end token: set eos_token_id")
        if not 0 < self.repetition_penalty < math.inf:
            raise CheckpointError(
                f"generation_config.json: repetition_penalty must be a positive number; got {self.repetition_penalty}"
            )
        if self.box_numbers not in get_args(BoxNumbers):
            wanted = " or ".join(get_args(BoxNumbers))
            raise CheckpointError(f"generation_config.json: box_numbers must be {wanted}; got {self.box_numbers!r}")

    @classmethod
    def from_folder(cls, folder: str | Path, config: N3DConfig) -> GenerationDefaults:
        """Reads a checkpoint folder; without the file, or where it is silent, transformers' defaults hold.

        Raises:
            CheckpointError: if the file is damaged or a value is not usable.
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
