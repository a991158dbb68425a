"""How a checkpoint asks to be decoded: `generation_config.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n3d_core.errors import CheckpointError
from n3d_core.model.config import N3DConfig


@dataclass(frozen=True)
class GenerationDefaults:
    """What `generate` of transformers would apply. We decode greedily and without penalty unless asked otherwise.

    Attributes:
        eos_token_ids: each ends a reply.
        do_sample, temperature, top_p, top_k: of sampling; a top_k of 0 is no limit.
        repetition_penalty: 1 for none.
    """

    eos_token_ids: tuple[int, ...]
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 50
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.eos_token_ids:
            raise CheckpointError("generation_config.json names no end token: eos_token_id is wanted")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0 or not self.repetition_penalty > 0:
            raise CheckpointError(
                f"generation_config.json: temperature {self.temperature}, top_p {self.top_p}, top_k {self.top_k}, "
                f"repetition_penalty {self.repetition_penalty}: temperature >= 0, 0 < top_p <= 1, top_k >= 0 and a "
                "positive penalty are wanted"
            )

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
            ends = data.get("eos_token_id", config.eos_token_id)
            return cls(
                eos_token_ids=tuple(int(i) for i in (ends if isinstance(ends, list) else [ends])),
                do_sample=bool(data.get("do_sample", False)),
                temperature=float(data.get("temperature") or 1.0),
                top_p=float(data.get("top_p") or 1.0),
                top_k=int(data.get("top_k", 50) or 0),
                repetition_penalty=float(data.get("repetition_penalty") or 1.0),
            )
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
