"""How the numbers of an exported graph are stored and computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from n3d_core.errors import ConfigError

FloatName = Literal["fp32", "fp16", "bf16"]
BLOCK = 64  # weights that share a scale; divides every width of the 3B, the 7B and n3d-tiny


@dataclass(frozen=True)
class Precision:
    """Types of one exported model.

    Attributes:
        name: as a user writes it: `fp32`, `fp16`, `bf16`, `int8`, `int4`.
        compute: type of matrix products, of the KV cache and of weights that are not quantised.
        weight_bits: 8 or 4 where the decoder's matrices (head included) are integers with one scale a block; else None.
    """

    name: str
    compute: FloatName
    weight_bits: Literal[4, 8] | None = None

    @classmethod
    def named(cls, name: str, integer_compute: FloatName = "fp32") -> Precision:
        """The precision of a name; integer weights are computed with in `integer_compute` (fp16 on a GPU).

        Raises:
            ConfigError: if the name is unknown.
        """
        known = {
            "fp32": cls(name, "fp32"),
            "fp16": cls(name, "fp16"),
            "bf16": cls(name, "bf16"),
            "int8": cls(name, integer_compute, 8),
            "int4": cls(name, integer_compute, 4),
        }
        if name not in known:
            raise ConfigError(f"precision is {name!r}: one of {', '.join(known)} is wanted")
        return known[name]
