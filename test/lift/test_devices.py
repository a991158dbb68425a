"""Who runs the data engine's networks, on what, in which precision, and what that does to a run's identity."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import CocoFolder
from PIL import ExifTags, Image

pytest.importorskip("transformers", reason="pip install 'n3d-ros[lift-models]'")
from tiny_models import save_grounding_dino, save_sam2

from n3d_core.depth.monocular import DepthEstimate
from n3d_core.errors import ConfigError, DepthError
from n3d_core.geometry.camera import Camera
from n3d_core.models import local_folder
from training.lift.lift_config import LiftConfig, ModelsConfig, OutputConfig, SourceConfig
from training.lift.lifting import Candidate
from training.lift.local_run import device_of
from training.lift.models.grounding_dino import Detector
from training.lift.models.perception import Perception
from training.lift.observation import Observation, focal_error, observe
from training.lift.place import place_of
from training.lift.problems import ClusterError, ImageProblem
from training.lift.ray_run import copies_of_networks
from training.lift.record import Annotation, DepthSource, Record
from training.lift.shards import ShardCounts


@pytest.mark.parametrize(
    ("resources", "device", "workers", "gpus", "expected"),
    [
        ({"CPU": 8.0, "GPU": 4.0}, "cuda", 0, 4, (4, 1)),
        ({"CPU": 8.0, "GPU": 4.0}, "cuda", 0, 0, (4, 1)),
        ({"CPU": 8.0, "GPU": 4.0}, "cuda:0", 2, 3, (3, 1)),
        ({"CPU": 8.0}, "cpu", 6, 0, (3, 0)),
        ({"CPU": 8.0}, "cpu", 0, 0, (1, 0)),
    ],
)
def test_every_gpu_of_a_cluster_that_is_asked_for_holds_a_copy_of_the_networks(
    resources: dict[str, float], device: str, workers: int, gpus: int, expected: tuple[int, int]
) -> None:
    assert copies_of_networks(resources, device, workers, gpus) == expected


@pytest.mark.parametrize(
    ("resources", "device", "gpus", "message"),
    [
        ({"GPU": 2.0}, "cuda", 4, "models.device is 'cuda' and --gpus is 4, but the cluster has 2 GPUs: use fewer"),
        ({}, "cuda", 0, "models.device is 'cuda' and --gpus is all, but the cluster has 0 GPUs"),
        ({"GPU": 2.0}, "cpu", 2, "--gpus 2 needs models.device cuda; got 'cpu': set it to cuda"),
    ],
)
def test_gpus_that_are_not_there_are_said(resources: dict[str, float], device: str, gpus: int, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        copies_of_networks(resources, device, 0, gpus)


def test_processes_of_one_machine_take_turns_at_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_of(i, "cuda") for i in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert device_of(3, "cuda:1") == "cuda:1"
    assert device_of(3, "cpu") == "cpu"


def _config(**models: object) -> LiftConfig:
    return LiftConfig(SourceConfig("coco", "images"), OutputConfig("out"), ModelsConfig(**models))


def test_a_run_is_known_by_the_weights_of_its_networks_not_by_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = save_sam2(tmp_path / "here")
    there = tmp_path / "there"
    shutil.copytree(here, there)
    before = _config(segmenter=str(here)).fingerprint
    assert _config(segmenter=str(there)).fingerprint == before
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps(config | {"changed": True}))
    assert _config(segmenter=str(there)).fingerprint != before
    assert _config(segmenter=str(here), precision="bf16").fingerprint != before
    assert _config(segmenter=str(here), batch=2).fingerprint != before
    assert _config(segmenter=str(here), device="cuda:1").fingerprint == (
        _config(segmenter=str(here), device="cuda").fingerprint
    )
    assert _config(device="cuda", batch=2).fingerprint == _config().fingerprint  # there are no networks


def _observation(seed: int) -> Observation:
    color = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    seen = Observation(Record(f"k{seed}", "x.png"), b"", "png", color, depth=np.full((48, 64), 2.0, np.float32))
    seen.candidates.append(Candidate("mug", (4.0, 4.0, 40.0, 40.0), None))
    seen.annotations.append(Annotation("mug", (4.0, 4.0, 40.0, 40.0)))
    return seen


@pytest.mark.parametrize(("precision", "name"), [("auto", "float32"), ("fp32", "float32"), ("bf16", "bfloat16")])
def test_networks_compute_in_the_precision_that_is_asked_for(tmp_path: Path, precision: str, name: str) -> None:
    import torch

    perception = Perception(ModelsConfig(segmenter=str(save_sam2(tmp_path)), precision=precision, batch=2))
    types = set()
    for module in perception._segmenter.model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, __, out: types.add(out.dtype))
    seen = [_observation(i) for i in range(3)]
    perception(seen)
    assert types == {getattr(torch, name)}
    assert all(s.candidates[0].mask.to_image(48, 64).dtype == bool for s in seen)


def test_a_batch_of_images_is_detected_as_each_alone(tmp_path: Path) -> None:
    detector = Detector(str(save_grounding_dino(tmp_path, ["mug", "chair"])), ["mug", "chair"], score=0.0)
    images = [_observation(i).color for i in range(3)]
    together, alone = detector.detect(images, batch=3), detector.detect(images)
    assert [len(found) for found in together] == [len(found) for found in alone]
    for one, other in zip(together, alone, strict=True):
        assert [d.label for d in one] == [d.label for d in other]
        np.testing.assert_allclose([d.box for d in one], [d.box for d in other], atol=0.05)


@pytest.mark.parametrize(("focal", "origin"), [(28, "exif"), (0, "fov"), (60000, "fov")])
def test_the_field_of_view_is_the_pictures_own_where_it_says_one(
    coco_folder: CocoFolder, tmp_path: Path, focal: int, origin: str
) -> None:
    image, exif = Image.new("RGB", (360, 240), (90, 120, 60)), Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal
    image.save(tmp_path / "a.jpg", exif=exif)
    base = coco_folder.config(tmp_path)
    config = replace(base, models=ModelsConfig(depth="indoor"))
    seen = observe(Record("a", str(tmp_path / "a.jpg"), annotations=(Annotation("mug", (1, 1, 50, 50)),)), config)
    assert seen.camera_origin == origin
    width_in_front = seen.camera.width / seen.camera.fx
    assert width_in_front == pytest.approx(36 / focal if origin == "exif" else 2 * np.tan(np.radians(31)), rel=1e-3)


class FakeDepth:
    """A depth model that refuses images with a black first pixel, and notes the sizes of its batches."""

    name, far = "fake (here)", 100.0

    def __init__(self) -> None:
        self.batches: list[int] = []

    def estimate_batch(self, colors: list[np.ndarray], cameras: list[Camera | None]) -> list[DepthEstimate]:
        self.batches.append(len(colors))
        if any(not color[0, 0].any() for color in colors):
            raise DepthError("too dark")
        return [
            DepthEstimate(np.full(c.shape[:2], 2.0, np.float32), k or Camera.from_fov(70, c.shape[1], c.shape[0]))
            for c, k in zip(colors, cameras, strict=True)
        ]


def test_depth_is_estimated_in_batches_of_one_size_and_a_bad_image_costs_no_other() -> None:
    perception, depth = Perception(ModelsConfig(batch=2)), FakeDepth()
    perception._depth = depth
    perception._config = ModelsConfig(depth="fake", batch=2)
    seen = [replace(_observation(i), depth=None) for i in range(5)]
    seen[1].color = seen[1].color[:, :40].copy()
    seen[2].color[0, 0] = 0
    seen[4].camera = Camera.from_fov(50, 64, 48)
    out = perception(seen)
    assert [isinstance(one, ImageProblem) for one in out] == [False, False, True, False, False]
    assert (out[2].reason, str(out[2])) == ("depth_corrupt", "k2: too dark")
    assert depth.batches == [2, 1, 1, 1, 1, 1]  # 0 and 2 fail together, so each alone; 3; another size; a given camera
    assert (seen[0].camera_origin, seen[4].camera_origin) == ("predicted", "given")
    assert (seen[0].depth_origin, float(seen[1].depth[0, 0])) == ("fake", 2.0)


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        (["couch", "tv", "person"], "indoor"),
        (["car", "car", "car", "Traffic light", "person"], "outdoor"),
        (["car", "couch"], "undecided"),
        (["cars", "people"], "outdoor"),
        (["laptop", "book", "bird"], "indoor"),
        (["person", "chair", "potted plant"], "undecided"),
        ([], "undecided"),
    ],
)
def test_classes_say_whether_an_image_is_indoors_or_outdoors(labels: list[str], place: str) -> None:
    assert place_of(labels) == place


def test_the_depth_model_is_chosen_by_the_classes_of_an_image_and_counted() -> None:
    perception, indoor, outdoor = Perception(ModelsConfig(batch=8)), FakeDepth(), FakeDepth()
    outdoor.name = "wide (here)"
    perception._depth, perception._outdoor = indoor, outdoor
    perception._config = ModelsConfig(depth="fake", outdoor_depth="wide", batch=8)
    seen = [replace(_observation(i), depth=None) for i in range(4)]
    for one, label in zip(seen, ("car", "couch", "person", "truck"), strict=True):
        one.annotations = [Annotation(label, (4.0, 4.0, 40.0, 40.0))]
    measured = _observation(4)
    perception([*seen, measured])
    assert [one.place for one in seen] == ["outdoor", "indoor", "undecided", "outdoor"]
    assert [one.depth_origin for one in seen] == ["wide", "fake", "fake", "wide"]
    assert (indoor.batches, outdoor.batches) == ([2], [2])
    assert measured.place == ""


def test_a_model_for_outdoor_images_needs_one_for_the_others() -> None:
    with pytest.raises(ConfigError, match=r"models\.depth, for all other images, is not"):
        ModelsConfig(outdoor_depth="outdoor")
    with pytest.raises(ConfigError, match=r"indoors and outdoors: remove models\.outdoor_depth"):
        ModelsConfig(depth="moge", outdoor_depth="outdoor")


@pytest.mark.parametrize(
    ("depth", "measured", "origin"), [("moge", False, None), ("moge", True, 60.0), ("indoor", False, 60.0)]
)
def test_a_model_that_estimates_the_camera_goes_before_the_assumed_field_of_view(
    coco_folder: CocoFolder, tmp_path: Path, depth: str, measured: bool, origin: float | None
) -> None:
    Image.new("RGB", (360, 240), (90, 120, 60)).save(tmp_path / "a.jpg")
    np.save(tmp_path / "a.npy", np.full((240, 360), 2.0, np.float32))
    source = DepthSource(str(tmp_path / "a.npy")) if measured else None
    base = coco_folder.config(tmp_path)
    config = replace(base, models=ModelsConfig(depth=depth), source=replace(base.source, fov=60.0, camera=""))
    mug = Annotation("mug", (1, 1, 50, 50))
    seen = observe(Record("a", str(tmp_path / "a.jpg"), annotations=(mug,), depth=source), config)
    assert (None if seen.camera is None else round(seen.camera.fields_of_view[0], 3)) == origin


def test_the_error_of_the_assumed_field_of_view_is_counted_where_the_picture_tells_it() -> None:
    seen = replace(_observation(0), camera=Camera.from_fov(73.74, 64, 48), camera_origin="exif")
    assert focal_error(seen, 60.0) == pytest.approx(np.tan(np.radians(36.87)) / np.tan(np.radians(30)) - 1, rel=1e-3)
    assert focal_error(seen, 0.0) is None
    assert focal_error(replace(seen, camera_origin="fov"), 60.0) is None
    counts = ShardCounts()
    counts.camera("exif", 0.25)
    counts.camera("fov", None)
    assert (counts.cameras, counts.focal_errors) == ({"exif": 1, "fov": 1}, [0.25])


def test_a_named_depth_model_is_known_by_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = _config(depth="moge").fingerprint
    folder = local_folder("moge-2")
    folder.mkdir(parents=True)
    (folder / "model.pt").write_bytes(b"weights")
    after = _config(depth="moge").fingerprint
    assert len({before, after, _config(depth="indoor").fingerprint}) == 3
    assert _config(depth=str(folder)).fingerprint == after
