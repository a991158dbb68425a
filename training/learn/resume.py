"""Checks whether a training can resume from a state: settings that affect data and model must be unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.learn.checkpoints import TOKENIZER, ResumeFile, TrainingError, tokenizer_digest
from training.learn.config import TrainConfig

_MUST_STAY = (
    *("seed", "train", "pe_order", "points", "lora.rank", "lora.alpha", "lora.targets", "lora.full", "optim.name"),
    *(
        "data.lifted",
        "data.caches",
        "data.mixture",
        "data.questions",
        "data.tokens",
        "data.augment",
        "data.depth",
        "data.centers",
    ),
    *("data.limit", "data.referring"),
)
"""Keys that determine which samples come next, or the state's tensors."""

_MAY_CHANGE = ("output", "init", "start_from", "threads", "log_every", "tensorboard", "batch", "accumulate",
               "processes", "data.workers", "sharding", "gradient_sync", "compiled", "checkpointing")  # fmt: skip
"""Keys that do not affect what is learnt."""


def resume_metadata(about: Mapping[str, Any], config: TrainConfig) -> dict[str, str]:
    """The metadata of a state: step, config, and whatever else determines the order of its data."""
    own = {"step": str(about["step"]), "config": json.dumps(asdict(config)), "about": json.dumps(about)}
    return own | {TOKENIZER: tokenizer_digest(Path(config.init))}


def check_resumable(state: ResumeFile, config: TrainConfig, about: Mapping[str, Any]) -> list[str]:
    """Notes on settings that differ from the state's and are allowed to.

    Raises:
        TrainingError: if resuming would skip or repeat data, or means another training.
    """
    before, now = dict(_flat(state.config)), dict(_flat(json.loads(json.dumps(asdict(config)))))
    advice = f"use a new output folder, with start_from: {state.path} for its weights"
    for key in _MUST_STAY:
        if key in before and before[key] != now[key]:
            raise TrainingError(f"{state.path}: made with {key} = {before[key]}, but it is now {now[key]}: {advice}")
    images = state.about.get("images_per_step", about["images_per_step"])
    if images != about["images_per_step"]:
        raise TrainingError(
            f"{state.path}: made with {images} images a step, but a step now has {about['images_per_step']}, so "
            f"data would be skipped or repeated: set accumulate so that batch x accumulate x processes is {images}"
        )
    if state.about.get("run", about["run"]) != about["run"]:
        raise TrainingError(
            f"{state.path}: several caches alternate by batch, so batch must stay {state.about['run'] // 2}"
        )
    sizes = state.about.get("sizes") or ([state.about["size"]] if "size" in state.about else [])
    if sizes != about["sizes"][: len(sizes)]:
        raise TrainingError(
            f"{state.path}: made with images of {_sides(sizes)} pixels, but those of the caches or data.size are now "
            f"{_sides(about['sizes'])}: {advice}"
        )
    known = (*_MUST_STAY, *_MAY_CHANGE)
    lines = [f"{k} is {now[k]} now, and was {v}" for k, v in before.items() if now.get(k, v) != v and k not in known]
    if state.about.get("images", about["images"]) != about["images"]:
        lines.append(f"{about['images']} images now, {state.about['images']} before: shuffling them again")
    return lines


def _sides(sizes: Sequence[Sequence[int]]) -> str:
    return ", ".join(f"{width}x{height}" for width, height in sizes)


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by dotted keys; a mapping that is a value, as `data.mixture`, stays whole."""
    for key, value in data.items():
        if isinstance(value, dict) and not prefix:
            yield from _flat(value, f"{key}.")
        else:
            yield f"{prefix}{key}", value
