"""The networks of the data engine: real classes and real loading, with tiny random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n3d_core.errors import CheckpointError
from training.lift.object_mask import ObjectMask

pytest.importorskip("transformers")

from tiny_models import save_grounding_dino, save_sam2

from training.lift.models.grounding_dino import Detection, Detector, _named, _prompts, _without_doubles
from training.lift.models.sam2 import Sam2Segmenter


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_grounding_dino(tmp_path_factory.mktemp("dino"), ["mug", "wine", "glass", "chair"])


def test_sam2_gives_one_mask_a_box_of_the_images_own_size(sam2: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (50, 80, 3), dtype=np.uint8), rng.integers(0, 255, (60, 40, 3), dtype=np.uint8)]
    boxes = [[(10.0, 10.0, 40.0, 30.0), (0.0, 0.0, 80.0, 50.0), (5.0, 5.0, 9.0, 9.0)], [(1.0, 2.0, 30.0, 50.0)]]
    found = Sam2Segmenter(str(sam2), boxes=2).segment(images, boxes)
    assert [len(own) for own in found] == [3, 1]
    for image, own in zip(images, found, strict=True):
        assert all(m.right <= image.shape[1] and m.bottom <= image.shape[0] for m in own)


def test_sam2_agrees_with_transformers_own_forward_of_image_and_box(sam2: Path) -> None:
    import torch
    from transformers import Sam2Model

    segmenter = Sam2Segmenter(str(sam2))
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = torch.tensor(((image / 255.0 - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float32)
    box = torch.tensor([[[8.0, 8.0, 40.0, 48.0]]])
    with torch.inference_mode():
        out = Sam2Model.from_pretrained(sam2).eval()(pixel_values=pixels, input_boxes=box, multimask_output=False)
        logits = torch.nn.functional.interpolate(out.pred_masks[0], size=(64, 64), mode="bilinear", align_corners=False)
    expected = ObjectMask.from_image(logits[0, 0].numpy() > 0)
    ours = segmenter.segment([image], [[(8.0, 8.0, 40.0, 48.0)]])[0][0]
    assert ours.box == expected.box
    assert np.array_equal(ours.pixels, expected.pixels)


def test_detector_returns_only_asked_classes_inside_the_image(dino: Path) -> None:
    detector = Detector(str(dino), ["mug", "wine glass"], score=0.0)
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    found = detector.detect([image])[0]
    assert found
    assert {d.label for d in found} <= {"mug", "wine glass"}
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    assert all(d.box[0] >= -1 and d.box[2] <= 91 for d in found)


def test_detection_text_becomes_the_class_that_was_asked_for() -> None:
    names = ["glass", "wine glass", "chair"]
    assert _named("wine glass", names) == "wine glass"
    assert _named("glass", names) == "glass"
    assert _named("table", names) == ""


def test_many_classes_are_split_into_prompts_that_fit() -> None:
    def count(text: str) -> dict[str, list[str]]:
        return {"input_ids": text.split()}

    assert _prompts(["a", "b", "c", "d", "e"], count, 2) == [["a", "b"], ["c", "d"], ["e"]]


def test_double_detections_of_one_class_are_removed_and_other_classes_stay() -> None:
    one = Detection("mug", (0.0, 0.0, 10.0, 10.0), 0.9)
    same = Detection("mug", (0.5, 0.0, 10.0, 10.0), 0.8)
    other = Detection("cup", (0.0, 0.0, 10.0, 10.0), 0.7)
    assert _without_doubles([same, other, one]) == [one, other]


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Sam2Segmenter(str(tmp_path))


def test_a_checkpoint_of_another_class_is_refused(dino: Path) -> None:
    with pytest.raises(CheckpointError):
        Sam2Segmenter(str(dino))
