"""Depth Anything V2 is loaded from a folder as published and run by its own rule; MoGe-2 where it is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from n3d_core.depth.monocular import load_monocular
from n3d_core.errors import CameraError, CheckpointError, MissingDependencyError
from n3d_core.geometry import Camera

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# as in the published preprocessor_config.json
PROCESSOR = {
    "do_normalize": True,
    "do_pad": False,
    "do_rescale": True,
    "do_resize": True,
    "ensure_multiple_of": 14,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "DPTImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "keep_aspect_ratio": True,
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": 70, "width": 70},  # 518 when published; small here, for speed
    "size_divisor": None,
}


def save_tiny(folder: Path, **changes: Any) -> Any:
    """A Depth Anything of the published form with random weights."""
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        image_size=70,
        patch_size=14,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    settings = {"depth_estimation_type": "metric", "max_depth": 20, **changes}
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=24,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        initializer_range=0.15,
        **settings,
    )
    network = transformers.DepthAnythingForDepthEstimation(config).eval()
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return network


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("depth-anything")
    return folder, save_tiny(folder)


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.dstack([x % 256, y % 256, (x * y) % 256]).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (128, 96), (70, 70), (60, 200)])
def test_depth_is_that_of_transformers_with_the_checkpoints_own_input_rule(
    tiny: tuple[Path, Any], height: int, width: int
) -> None:
    folder, network = tiny
    color, camera = picture(height, width), Camera.from_fov(60, width, height)
    model = load_monocular(str(folder), device="cpu")
    depth = model.estimate(color, camera).depth
    # the rule: the scale that changes the image least, so that one side is 70; both sides multiples of 14
    scale = min(70 / height, 70 / width, key=lambda s: abs(1 - s))
    size = [round(side * scale / 14) * 14 for side in (height, width)]
    pixels = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")(
        color, return_tensors="pt"
    ).pixel_values
    assert list(pixels.shape[2:]) == size
    with torch.inference_mode():
        expected = torch.nn.functional.interpolate(
            network(pixels).predicted_depth[:, None], (height, width), mode="bilinear"
        )
    assert depth.shape == (height, width)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, expected[0, 0].numpy(), rtol=1e-5)
    assert np.isfinite(depth).all()
    assert depth.max() - depth.min() > 0.01
    assert (depth > 0).all()
    assert (depth < 20).all()


def test_the_end_of_the_range_is_the_sky_and_not_a_distance(tiny: tuple[Path, Any], tmp_path: Path) -> None:
    network = save_tiny(tmp_path)
    with torch.no_grad():
        network.head.conv3.weight.zero_()
        network.head.conv3.bias.fill_(50.0)  # the sigmoid's upper end everywhere
    network.save_pretrained(tmp_path)
    model = load_monocular(str(tmp_path), device="cpu")
    assert model.far == 20.0
    assert np.isnan(model.estimate(picture(70, 70), Camera.from_fov(60, 70, 70)).depth).all()


def test_it_asks_for_a_camera(tiny: tuple[Path, Any]) -> None:
    with pytest.raises(CameraError, match="--camera or --fov"):
        load_monocular(str(tiny[0]), device="cpu").estimate(picture(70, 70), None)


def test_a_relative_model_is_refused(tmp_path: Path) -> None:
    save_tiny(tmp_path, depth_estimation_type="relative")
    with pytest.raises(CheckpointError, match="'relative': its depth is not in metres"):
        load_monocular(str(tmp_path))


def test_a_folder_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "depth model").mkdir()
    with pytest.raises(CheckpointError, match=f"^{tmp_path}/depth model: no monocular depth model"):
        load_monocular("~/depth model")


def test_incomplete_and_damaged_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        load_monocular(str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match="no monocular depth model"):
        load_monocular(str(tmp_path))
    save_tiny(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cannot be loaded as Depth Anything V2"):
        load_monocular(str(tmp_path))
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_monocular(str(tmp_path))


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_tiny(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["head.conv2.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"head\.conv2\.weight"):
        load_monocular(str(tmp_path))


def test_a_published_name_that_was_not_downloaded_says_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="n3d download depth-anything-v2-indoor"):
        load_monocular("indoor")


def test_a_batch_of_images_is_measured_as_each_alone(tiny: tuple[Path, Any]) -> None:
    model = load_monocular(str(tiny[0]), device="cpu")
    pictures, camera = [np.roll(picture(60, 90), 7 * i, axis=1) for i in range(3)], Camera.from_fov(60, 90, 60)
    together = model.estimate_batch(pictures, [camera] * 3)
    for one, seen in zip(pictures, together, strict=True):
        np.testing.assert_allclose(seen.depth, model.estimate(one, camera).depth, rtol=1e-4)
        assert seen.camera is camera
    with pytest.raises(CameraError, match="does not estimate intrinsics"):
        model.estimate_batch(pictures, [camera, None, camera])


class FakeMoGe:
    """The calls of MoGe-2 that are used, with depths and intrinsics that tell which image they are of."""

    fovs: ClassVar[list[Any]] = []

    @classmethod
    def from_pretrained(cls, path: str) -> FakeMoGe:
        return cls()

    def eval(self) -> FakeMoGe:
        return self

    def to(self, device: str) -> FakeMoGe:
        return self

    def infer(self, images: Any, fov_x: Any, use_fp16: bool) -> dict[str, Any]:
        self.fovs.append(fov_x)
        count, _, height, width = images.shape
        depth = images.mean(dim=(1, 2, 3))[:, None, None].expand(count, height, width).clone()
        depth[:, 0, 0] = float("inf")  # the sky
        return {
            "depth": depth,
            "intrinsics": torch.tensor([[1.0, 0, 0.5], [0, 1.5, 0.5], [0, 0, 1]]).repeat(count, 1, 1),
        }


def test_moge_measures_a_batch_with_and_without_a_field_of_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("moge", "moge.model", "moge.model.v2"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(MoGeModel=FakeMoGe))
    (tmp_path / "model.pt").write_bytes(b"")
    model = load_monocular(str(tmp_path), device="cpu")
    pictures = [np.full((20, 30, 3), value, np.uint8) for value in (51, 102)]
    predicted = model.estimate_batch(pictures, [None, None])
    assert FakeMoGe.fovs.pop() is None
    assert [float(np.nanmedian(seen.depth)) for seen in predicted] == pytest.approx([0.2, 0.4])
    assert all(np.isnan(seen.depth[0, 0]) for seen in predicted)
    assert predicted[0].camera == Camera(30, 20, 30.0, 30.0, 14.5, 9.5)
    camera = Camera.from_fov(50, 30, 20)
    assert model.estimate(pictures[0], camera).camera is camera
    assert FakeMoGe.fovs.pop().tolist() == pytest.approx([50.0])


def test_moge_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"not a checkpoint")
    try:
        import moge.model.v2  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match=r"github\.com/microsoft/MoGe"):
            load_monocular(str(tmp_path))
    else:
        with pytest.raises(CheckpointError, match="cannot be loaded as MoGe-2"):
            load_monocular(str(tmp_path))
