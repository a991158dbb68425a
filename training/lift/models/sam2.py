"""SAM 2 with box prompts, through transformers' `Sam2Model`, but without its processor, which needs torchvision."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.lift.models.loading import load_local
from training.lift.object_mask import Box2D, ObjectMask

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Sam2Segmenter:
    """Segments the objects in 2D boxes.

    Args:
        folder: local folder of a SAM 2 checkpoint for transformers (`facebook/sam2.1-hiera-*`).
        device: torch device.
        boxes: maximum number of boxes per decoder pass.
    """

    def __init__(self, folder: str, device: str = "cpu", boxes: int = 32) -> None:
        self.model, processor = load_local(folder, "Sam2Model", device)
        self._device, self._boxes = device, boxes
        self._mean = np.asarray(processor.get("image_mean", MEAN), np.float32)
        self._std = np.asarray(processor.get("image_std", STD), np.float32)
        size = self.model.config.vision_config.backbone_config.image_size
        self._size = (int(size[0]), int(size[1])) if isinstance(size, (list, tuple)) else (int(size), int(size))

    def segment(self, images: list[NDArray[np.uint8]], boxes: list[list[Box2D]]) -> list[list[ObjectMask]]:
        """Masks for the boxes of each image, in order.

        Args:
            images: RGB uint8 [H, W, 3]; sizes may differ.
            boxes: left, top, right, bottom in pixels of each image.
        """
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack([self._prepare(image) for image in images])).to(self._device)
            embeddings = self.model.get_image_embeddings(pixels)
            return [
                [
                    m
                    for i in range(0, len(own), self._boxes)
                    for m in self._decode(embeddings, k, image, own[i : i + self._boxes])
                ]
                for k, (image, own) in enumerate(zip(images, boxes, strict=True))
            ]

    def _prepare(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalised pixels [3, S, S]; SAM resizes images to a square without keeping the aspect ratio."""
        resized = cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255.0
        return np.ascontiguousarray(((resized - self._mean) / self._std).transpose(2, 0, 1))

    def _decode(self, embeddings: list[Any], k: int, image: NDArray[np.uint8], boxes: list[Box2D]) -> list[ObjectMask]:
        import torch

        height, width = image.shape[:2]
        scale = np.array([self._size[1] / width, self._size[0] / height] * 2, np.float32)
        prompts = torch.from_numpy(np.asarray(boxes, np.float32) * scale)[None].to(self._device)
        out = self.model(
            image_embeddings=[e[k : k + 1] for e in embeddings], input_boxes=prompts, multimask_output=False
        )
        logits = torch.nn.functional.interpolate(
            out.pred_masks[0].float(), size=(height, width), mode="bilinear", align_corners=False
        )
        return [ObjectMask.from_image(m) for m in (logits[:, 0] > 0).cpu().numpy()]
