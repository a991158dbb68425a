"""Grounding DINO through transformers: detects classes in images with few or no annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CheckpointError
from training.lift.boxes import overlap_2d
from training.lift.models.loading import load_local
from training.lift.object_mask import Box2D


@dataclass(frozen=True)
class Detection:
    """A detected object: its class, 2D box in pixels, and score."""

    label: str
    box: Box2D
    score: float


class Detector:
    """Open-vocabulary detection.

    Args:
        folder: local folder of a Grounding DINO checkpoint for transformers (`IDEA-Research/grounding-dino-*`).
        classes: classes to detect.
        score: minimum score of a detection.
        device: torch device.
    """

    def __init__(self, folder: str, classes: list[str], score: float, device: str = "cpu") -> None:
        from transformers import AutoTokenizer, GroundingDinoImageProcessorPil, GroundingDinoProcessor

        self.model, _ = load_local(folder, "GroundingDinoForObjectDetection", device)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            images = GroundingDinoImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder}: its tokenizer or preprocessor_config.json is missing: {error}") from error
        self._processor = GroundingDinoProcessor(images, tokenizer)
        self._score, self._device = score, device
        self._prompts = _prompts(classes, tokenizer, int(getattr(self.model.config, "max_text_len", 256)))

    def detect(self, images: list[NDArray[np.uint8]], batch: int = 1) -> list[list[Detection]]:
        """Objects of each image (RGB uint8 [H, W, 3]), highest score first, without duplicates of a class."""
        found: list[list[Detection]] = [[] for _ in images]
        for names in self._prompts:
            for first in range(0, len(images), batch):
                for number, own in enumerate(self._batch(images[first : first + batch], names), start=first):
                    found[number] += own
        return [_without_doubles(own) for own in found]

    def _batch(self, images: list[NDArray[np.uint8]], names: list[str]) -> list[list[Detection]]:
        import torch

        texts = [_text(names)] * len(images)
        inputs = self._processor(images=images, text=texts, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            out = self.model(**inputs)
        return [
            self._detections(found, names)
            for found in self._processor.post_process_grounded_object_detection(
                out,
                inputs.input_ids,
                threshold=self._score,
                text_threshold=self._score,
                target_sizes=[image.shape[:2] for image in images],
            )
        ]

    def _detections(self, found: Mapping[str, Any], names: list[str]) -> list[Detection]:
        detections = []
        for box, score, text in zip(found["boxes"], found["scores"], found["text_labels"], strict=True):
            label = _named(text, names)
            if label:
                left, top, right, bottom = (float(v) for v in box)
                detections.append(Detection(label, (left, top, right, bottom), float(score)))
        return detections


def _text(names: list[str]) -> str:
    """The classes as a prompt for Grounding DINO: in lower case, each followed by a full stop."""
    return " ".join(f"{name.lower()}." for name in names)


def _prompts(classes: list[str], tokenizer: object, room: int) -> list[list[str]]:
    """The classes in as few prompts as fit the text encoder."""
    prompts: list[list[str]] = [[]]
    for name in classes:
        longer = [*prompts[-1], name]
        if prompts[-1] and len(tokenizer(_text(longer))["input_ids"]) > room:  # type: ignore[operator]
            prompts.append([name])
        else:
            prompts[-1] = longer
    return prompts if prompts[0] else []


def _named(text: str, names: list[str]) -> str:
    """The class whose words are in a detection's text; the longest of several, empty if there is none."""
    words = set(text.lower().split())
    fitting = [n for n in names if n.lower() == text.lower()] or [n for n in names if words & set(n.lower().split())]
    return max(fitting, key=len, default="")


def _without_doubles(found: list[Detection], overlap: float = 0.7) -> list[Detection]:
    kept: list[Detection] = []
    for one in sorted(found, key=lambda d: (-d.score, d.label, d.box)):
        if all(one.label != other.label or overlap_2d(one.box, other.box) < overlap for other in kept):
            kept.append(one)
    return kept
