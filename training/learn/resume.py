"""Checks whether a training can resume from a state: settings that affect data and model must be unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from training.learn.checkpoints import ResumeFile, TrainingError
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
    return {"step": str(about["step"]), "config": json.dumps(asdict(config)), "about": json.dumps(about)}


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
    if state.about.get("size", about["size"]) != about["size"]:
        raise TrainingError(
            f"{state.path}: made with images of {state.about['size']} pixels, but data.cache or data.size now has "
            f"{about['size']}: {advice}"
        )
    known = (*_MUST_STAY, *_MAY_CHANGE)
    lines = [f"{k} is {now[k]} now, and was {v}" for k, v in before.items() if now.get(k, v) != v and k not in known]
    if state.about.get("images", about["images"]) != about["images"]:
        lines.append(f"{about['images']} images now, {state.about['images']} before: shuffling them again")
    return lines


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by dotted keys; a mapping that is a value, as `data.mixture`, stays whole."""
    for key, value in data.items():
        if isinstance(value, dict) and not prefix:
            yield from _flat(value, f"{key}.")
        else:
            yield f"{prefix}{key}", value
