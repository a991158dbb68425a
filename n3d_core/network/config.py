"""Sizes of the network, read from `config.json` (flat as on the hub, or nested as newer tools save it)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from n3d_core.errors import CheckpointError, reading

PeOrder = Literal["row_major", "aligned"]
Points = Literal["mean", "valid"]

ARCHITECTURE = "qwen2_5_vl"
_VISION_SIZES = ("depth", "hidden_size", "intermediate_size", "num_heads", "out_hidden_size")
_TEXT_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)
_IDS = ("image_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower."""

    depth: int = 32
    hidden_size: int = 1280
    intermediate_size: int = 3420
    num_heads: int = 16
    out_hidden_size: int = 2048
    in_channels: int = 3
    patch_size: int = 14
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    window_size: int = 112
    fullatt_block_indexes: tuple[int, ...] = (7, 15, 23, 31)

    def __post_init__(self) -> None:
        _positive(self)
        if self.in_channels != 3:
            raise CheckpointError(f"in_channels must be 3 (RGB); got {self.in_channels}")
        _divides("vision num_heads", self.num_heads, "hidden_size", self.hidden_size)
        _divides("vision rotary axes", 4, "head size", self.hidden_size // self.num_heads)
        _divides("patch_size x spatial_merge_size", self.pixels_per_token, "window_size", self.window_size)

    @property
    def pixels_per_token(self) -> int:
        """Side of one merged image token, in pixels."""
        return self.patch_size * self.spatial_merge_size

    @property
    def patch_values(self) -> int:
        """Number of values in a flattened patch (both temporal frames)."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2


@dataclass(frozen=True)
class TextConfig:
    """The decoder."""

    vocab_size: int = 151936
    hidden_size: int = 2048
    intermediate_size: int = 11008
    num_hidden_layers: int = 36
    num_attention_heads: int = 16
    num_key_value_heads: int = 2
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1_000_000.0
    mrope_section: tuple[int, int, int] = (16, 24, 24)
    max_position_embeddings: int = 128_000
    tie_word_embeddings: bool = True

    def __post_init__(self) -> None:
        _positive(self)
        _divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)
        _divides("num_key_value_heads", self.num_key_value_heads, "num_attention_heads", self.num_attention_heads)
        if sum(self.mrope_section) * 2 != self.head_size:
            raise CheckpointError(
                f"mrope_section must add up to half of the head size ({self.head_size // 2}); "
                f"got {list(self.mrope_section)}, which adds up to {sum(self.mrope_section)}"
            )

    @property
    def head_size(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class N3DConfig:
    """The whole model, with N3D-VLM's own settings.

    Attributes:
        pe_order: `row_major` for the released weights, which were trained that way; `aligned` for models trained here.
        points: how points become patch coordinates (see `preprocess`): `mean` for the released weights, `valid` for
            models trained here.
        image_longest_side: images are resized so that their longest side has this many pixels.
        ratios: aspect ratios (width, height) that the model was trained on; images of other ratios are letterboxed to
            the nearest one. Empty if the model takes any ratio.
        image_token_id, vision_start_token_id, vision_end_token_id: the tokenizer's ids.
        eos_token_id: the id that ends a turn.
    """

    vision: VisionConfig
    text: TextConfig
    image_token_id: int = 151655
    vision_start_token_id: int = 151652
    vision_end_token_id: int = 151653
    eos_token_id: int = 151645
    pe_order: PeOrder = "row_major"
    points: Points = "mean"
    image_longest_side: int = 640
    ratios: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.vision.out_hidden_size != self.text.hidden_size:
            raise CheckpointError(
                "vision out_hidden_size and the decoder's hidden_size must be equal; got "
                f"{self.vision.out_hidden_size} and {self.text.hidden_size}"
            )
        if self.pe_order not in get_args(PeOrder):
            raise CheckpointError(f"pe_order must be row_major or aligned; got {self.pe_order!r}")
        if self.points not in get_args(Points):
            raise CheckpointError(f"points must be mean or valid; got {self.points!r}")
        if any(min(ratio) < 1 for ratio in self.ratios):
            raise CheckpointError(f"ratios must be pairs of positive whole numbers; got {self.ratios}")
        if self.image_longest_side < self.vision.pixels_per_token:
            raise CheckpointError(
                f"image_longest_side must be at least the {self.vision.pixels_per_token} pixels of a token; got "
                f"{self.image_longest_side}"
            )

    @classmethod
    def from_file(cls, path: str | Path) -> N3DConfig:
        """Reads `config.json`.

        Raises:
            CheckpointError: if the file is missing or damaged, or describes another architecture.
        """
        with reading(path, "the configuration of an N3D-VLM", CheckpointError):
            return cls.from_json(json.loads(Path(path).read_text()))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> N3DConfig:
        """Reads the parsed JSON; the decoder's keys are at the top level (flat) or under `text_config` (nested)."""
        _check_architecture(data)
        text = dict(data.get("text_config") or data)
        vision = dict(data["vision_config"])
        own = dict(data.get("n3d") or {})
        rope = text.get("rope_scaling") or text.get("rope_parameters") or {}
        _check_features(text, vision, rope)
        layers = {"fullatt_block_indexes": tuple(vision["fullatt_block_indexes"])}
        spelled = {
            "in_channels": int(_first(vision.get("in_channels"), vision.get("in_chans"), 3)),
            "patch_size": int(_first(vision.get("patch_size"), vision.get("spatial_patch_size"), 14)),
        }
        numbers = {
            "rms_norm_eps": float(text.get("rms_norm_eps", 1e-6)),
            "rope_theta": float(text.get("rope_theta", rope.get("rope_theta", 1_000_000.0))),
            "mrope_section": tuple(rope["mrope_section"]),
            "tie_word_embeddings": bool(data.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        }
        return cls(
            vision=VisionConfig(**(_named(vision, VisionConfig, _VISION_SIZES) | layers | spelled)),
            text=TextConfig(**(_named(text, TextConfig, _TEXT_SIZES) | numbers)),
            **{key: data[key] for key in _IDS if key in data},
            eos_token_id=int(_first(data.get("eos_token_id"), text.get("eos_token_id"), 151645)),
            pe_order=own.get("pe_order", "row_major"),
            points=own.get("points", "mean"),
            image_longest_side=int(own.get("image_longest_side", 640)),
            ratios=tuple(_ratio(text) for text in own.get("ratios", ())),
        )

    def to_json(self) -> dict[str, Any]:
        """The flat form used on the hub, with this project's keys under `n3d`."""
        shared = {"model_type": ARCHITECTURE, "hidden_act": "silu"}
        text, vision = asdict(self.text), asdict(self.vision)
        sections = list(text.pop("mrope_section"))
        return {
            "architectures": ["Qwen2_5_VLForConditionalGeneration"],
            **shared,
            **text,
            "rope_scaling": {"type": "mrope", "mrope_section": sections},
            **{key: getattr(self, key) for key in _IDS},
            "eos_token_id": self.eos_token_id,
            "vision_config": {
                **shared,
                **vision,
                "in_chans": self.vision.in_channels,
                "spatial_patch_size": self.vision.patch_size,
                "fullatt_block_indexes": list(self.vision.fullatt_block_indexes),
                "tokens_per_second": 2,
            },
            "n3d": {
                "pe_order": self.pe_order,
                **({} if self.points == "mean" else {"points": self.points}),
                "image_longest_side": self.image_longest_side,
                **({"ratios": [f"{w}:{h}" for w, h in self.ratios]} if self.ratios else {}),
            },
        }


def _named(data: Mapping[str, Any], kind: type[VisionConfig | TextConfig], needed: tuple[str, ...]) -> dict[str, Any]:
    """The config fields that the JSON holds; KeyError if a required one is missing."""
    return {name: data[name] for name in needed} | {f.name: data[f.name] for f in fields(kind) if f.name in data}


def _check_architecture(data: Any) -> None:
    if not isinstance(data, Mapping):
        raise CheckpointError(f"expected a JSON object, got a {type(data).__name__}")
    kind = data.get("model_type", ARCHITECTURE)
    if "vision_config" not in data:
        raise CheckpointError(f"model_type {kind!r} has no vision_config: N3D-VLM is a Qwen2.5-VL with a vision tower")
    if kind != ARCHITECTURE:
        raise CheckpointError(f"model_type must be {ARCHITECTURE} (N3D-VLM is a Qwen2.5-VL); got {kind!r}")


def _check_features(text: Mapping[str, Any], vision: Mapping[str, Any], rope: Mapping[str, Any]) -> None:
    """Rejects unsupported features rather than silently computing something else."""
    kinds = {rope.get("type") or "mrope", rope.get("rope_type") or "default"}
    if not kinds <= {"mrope", "default"}:
        raise CheckpointError(f"rope type must be mrope or default; got {sorted(kinds)}")
    if text.get("use_sliding_window"):
        raise CheckpointError("use_sliding_window must be false: sliding-window attention is not supported")
    for name, part in (("text", text), ("vision", vision)):
        if part.get("hidden_act", "silu") != "silu":
            raise CheckpointError(f"hidden_act of the {name} part must be silu; got {part['hidden_act']!r}")


def _positive(config: VisionConfig | TextConfig) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if field.type == "int" and (type(value) is not int or not 0 < value < 1 << 31):
            raise CheckpointError(f"{field.name} must be a positive whole number; got {value!r}")
        if field.type == "float" and not 0 < value < math.inf:
            raise CheckpointError(f"{field.name} must be a positive number; got {value!r}")


def _ratio(text: Any) -> tuple[int, int]:
    width, _, height = str(text).partition(":")
    return int(width), int(height)


def _first(*values: Any) -> Any:
    """The first value that is not None; the first item of a list."""
    value = next((v for v in values if v is not None), None)
    return value[0] if isinstance(value, list) else value


def _divides(name: str, divisor: int, of: str, value: int) -> None:
    if divisor < 1 or value % divisor:
        raise CheckpointError(f"{of} must be a multiple of {name} ({divisor}); got {value}")
