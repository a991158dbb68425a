"""Training on what the data engine lifts: the boxes of a reply, shares and resuming, sizes, and damaged shards."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from n3d_core.depth import clean_depth
from n3d_core.errors import ConfigError, N3DError
from n3d_core.geometry.points import normalise, to_model_frame
from n3d_core.language.structured import BoxCodec, parse
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from training.data.sequences import TrainingSample
from training.data.stream import SceneSamples, Turns
from training.learn.config import TrainConfig
from training.learn.model import collate
from training.learn.parallel import Processes
from training.train import Trainer

pytest.importorskip("pycocotools", reason="lifting reads masks through pycocotools")
pytest.importorskip("pyarrow", reason="lifting writes an index through pyarrow")

from bench.primitives import PrimitiveScene, render_primitives
from training.data.lifted import NO_CLASS, LiftedScenes, from_lifted
from training.lift.lift_config import LiftConfig, OutputConfig, SourceConfig
from training.lift.manifest import INDEX
from training.lift.problems import ShardError
from training.lift.reader import LiftedDataset
from training.lift.run import run

ROOT = Path(__file__).resolve().parents[2]
CPU = Processes(0, 1, torch.device("cpu"))
MakeConfig = Callable[..., TrainConfig]
NAMES = {"box": "box", "cylinder": "wine glass", "sphere": "sports ball"}  # one is a class of the scenes


def write_source(
    root: Path, scenes: list[PrimitiveScene], phrases: list[str] | None = None, names: dict[str, str] = NAMES
) -> Path:
    """A plain folder of pictures, depth in millimetres and annotations with masks, as a user has it."""
    (root / "depth").mkdir(parents=True)
    for k, scene in enumerate(scenes):
        cv2.imwrite(str(root / f"{k}.png"), scene.color[:, :, ::-1])
        cv2.imwrite(str(root / "depth" / f"{k}.png"), np.nan_to_num(scene.depth * 1000).astype(np.uint16))
        objects = []
        for i, solid in enumerate(scene.solids):
            mask = scene.instances == i
            if not mask.any():
                continue
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
            cv2.imwrite(str(root / f"mask_{k}_{i}.bmp"), mask.astype(np.uint8) * 255)
            objects.append({"label": names[solid.shape], "box": box, "mask": f"mask_{k}_{i}.bmp",
                            "phrases": phrases or []})  # fmt: skip
        c = scene.camera
        about = {"objects": objects, "camera": {"fx": c.fx, "fy": c.fy, "cx": c.cx, "cy": c.cy}}
        (root / f"{k}.json").write_text(json.dumps(about))
    return root


def lift_folder(source: Path, output: Path, **settings: object) -> Path:
    """Shards of a plain folder."""
    config = LiftConfig(
        SourceConfig("folder", str(source), depth=str(source / "depth")),
        OutputConfig(str(output), images_per_shard=2, pictures=0, **settings),
    )
    assert run(config)["complete"]
    return output


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three landscape pictures and a portrait one, in two shards."""
    root = tmp_path_factory.mktemp("lifted")
    scenes = [render_primitives(seed, objects=4, width=160, height=120) for seed in range(3)]
    scenes.append(render_primitives(3, objects=4, width=120, height=160))
    return lift_folder(write_source(root / "source", scenes), root / "shards")


@pytest.fixture
def lifted_config(small_init: Path, shards: Path, config_maker: Callable[[str, str], MakeConfig]) -> MakeConfig:
    """Makes configs that train on the lifted folder alone, without augmentation."""
    data = f"{{lifted: {{{shards}: 1.0}}, size: 64x48, tokens: 200, workers: 0, augment: false}}"
    return config_maker(f"init: {small_init}\nsteps: 4", data)


def samples_of(config: TrainConfig) -> SceneSamples:
    init = Path(config.init)
    return SceneSamples(config, N3DConfig.from_file(init / "config.json"), Tokenizer(init / "tokenizer.json"))


def replies(samples: SceneSamples, sample: TrainingSample) -> list[str]:
    """What each question of a packed sample is to be answered."""
    packed = sample.packed
    numbers = [
        packed.targets[(packed.segment == n) & (packed.targets >= 0)] for n in range(1, packed.segment.max() + 1)
    ]
    return [samples.maker.tokenizer.decode(ids[:-1].tolist()) for ids in numbers]


def test_the_boxes_of_a_reply_are_the_lifted_boxes(lifted_config: MakeConfig, shards: Path) -> None:
    samples = samples_of(lifted_config("data.mixture={detect: 1.0}"))
    data = LiftedDataset(shards)
    seen = 0
    for number in range(len(data)):
        index = int(samples._order(0, 0)[number])
        image = from_lifted(samples.cache[index])
        depth, _ = clean_depth(image.depth)
        _, normalisation = normalise(to_model_frame(image.camera.back_project(depth)), np.isfinite(depth))
        codec = BoxCodec(normalisation, image.camera)
        (reply,) = replies(samples, samples[number])
        lifted = data[index].boxes()
        for code in parse(reply):
            (same,) = [box for box in lifted if codec.encode(box) == code]
            decoded = codec.decode(code)
            u, v = image.camera.project(np.asarray(decoded.center)) - image.camera.project(np.asarray(same.center))
            assert abs(u) <= 0.032 + 1e-6  # half a bin of 64 pixels
            assert abs(v) <= 0.024 + 1e-6
            assert decoded.center[2] == pytest.approx(same.center[2], abs=2.0 * codec.unit / 1000)
            assert decoded.size == pytest.approx(same.size, abs=0.625 * codec.unit / 1000)
            seen += 1
    assert seen >= 8


def test_a_picture_of_another_shape_is_cropped_about_its_middle_and_its_camera_with_it(shards: Path) -> None:
    data = LiftedDataset(shards)
    index = next(i for i in range(len(data)) if data[i].camera.height > data[i].camera.width)
    sample, scene = data[index], LiftedScenes(shards, 64, 48)[index]
    assert scene.color.shape == (48, 64, 3)
    assert scene.depth_mm.shape == scene.instances.shape == (48, 64)
    # 120x160 keeps rows 35 to 125: a point on the axis through a pixel stays on that pixel, scaled
    ray = np.array([0.1, 0.05, 1.0])
    u, v = sample.camera.project(ray)
    scaled = [(u + 0.5) * 64 / 120 - 0.5, (v - 35 + 0.5) * 48 / 90 - 0.5]
    assert scene.camera.project(ray) == pytest.approx(scaled)
    for item in scene.objects:
        if item.groundable:
            inside = scene.instances == item.instance
            seen = np.median(scene.depth_mm[inside]) / 1000
            assert abs(seen - item.box.center[2]) <= item.box.size[2] / 2 + 0.02


def test_an_object_that_the_crop_cuts_off_is_not_asked_for(shards: Path) -> None:
    wide, narrow = LiftedScenes(shards, 64, 48), LiftedScenes(shards, 16, 48)
    index = next(i for i in range(len(wide)) if wide.data[i].camera.width > wide.data[i].camera.height)
    before, after = wide[index].objects, narrow[index].objects
    sample = wide.data[index]
    for a, b in zip(before, after, strict=True):
        column = sample.camera.project(np.asarray(a.box.center))[0]
        if not 60 <= column <= 100:  # of 160, the middle 40 are left
            assert not b.groundable
    assert sum(o.groundable for o in after) < sum(o.groundable for o in before)


def test_auxiliary_heads_learn_from_known_classes_and_leave_open_words_out(lifted_config: MakeConfig) -> None:
    trainer = Trainer(lifted_config(), CPU)
    samples = [trainer.samples[n] for n in range(4)]
    classes = np.concatenate([s.dense.classes for s in samples])
    assert set(classes.tolist()) == {NO_CLASS, 0, 4}  # other words, nothing, "box"
    pad = trainer.tokenizer.id_of("<|endoftext|>")
    losses = trainer.model(collate(samples, trainer.model_config, pad))
    assert all(torch.isfinite(v) for v in losses.values())
    losses["loss"].backward()


def test_a_batch_without_a_class_that_the_auxiliary_heads_know_is_learnt_from(
    tmp_path: Path, lifted_config: MakeConfig
) -> None:
    scene = render_primitives(0, objects=4, width=160, height=120)
    source = write_source(tmp_path / "source", [scene], names=dict.fromkeys(NAMES, "pebble"))
    folder = lift_folder(source, tmp_path / "shards")
    trainer = Trainer(lifted_config(f"data.lifted={{{folder}: 1.0}}", "steps=1"), CPU)
    before = trainer.model.network.model.embed_tokens.weight.detach().clone()
    trainer.run()
    after = trainer.model.network.model.embed_tokens.weight.detach()
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)


def test_a_killed_training_goes_on_with_the_same_samples(
    lifted_config: MakeConfig, small_cache: Path, shards: Path, train_until_saved: Callable[[TrainConfig], None]
) -> None:
    mixed = [f"data.cache={small_cache}", f"data.lifted={{{shards}: 0.5}}", "data.augment=true", "save_every=2"]
    whole = lifted_config(*mixed, "output=" + lifted_config().output + "-whole")
    Trainer(whole, CPU).run()
    broken = lifted_config(*mixed)
    train_until_saved(broken)
    Trainer(broken, CPU).run()
    curves = [
        [json.loads(line)["loss"] for line in (Path(c.output) / "metrics.jsonl").read_text().splitlines()]
        for c in (whole, broken)
    ]
    assert len(curves[0]) == 4
    assert curves[0] == curves[1]


def test_sample_n_is_a_function_of_data_and_seed_alone(
    lifted_config: MakeConfig, small_cache: Path, shards: Path
) -> None:
    mixed = [f"data.cache={small_cache}", f"data.lifted={{{shards}: 0.5}}", "data.augment=true"]
    first, second = (samples_of(lifted_config(*mixed)) for _ in range(2))
    for number in (7, 1003, 2):
        one, other = first[number], second[number]
        assert np.array_equal(one.packed.ids, other.packed.ids)
        assert np.array_equal(one.patches, other.patches)


def test_a_cache_alone_gives_the_samples_it_always_gave(make_config: MakeConfig) -> None:
    samples = samples_of(make_config())
    assert [samples.turns[n] for n in (0, 5, 12345)] == [(0, 0), (0, 5), (0, 12345)]
    assert np.array_equal(samples._order(0, 3), np.random.default_rng((0, 3)).permutation(8))


def test_sources_take_turns_by_their_shares() -> None:
    turns = Turns([0.2, 0.5, 0.3], seed=1)
    drawn = [turns[n] for n in range(3000)]
    assert Counter(which for which, _ in drawn) == {0: 600, 1: 1500, 2: 900}
    for source in range(3):
        own = [number for which, number in drawn if which == source]
        assert own == list(range(len(own)))  # none is left out, none comes twice
    assert Counter(which for which, _ in drawn[:100])[1] > 30  # shuffled, not one after the other
    assert turns[1500] == drawn[1500]


def test_what_was_seen_and_not_lifted_is_never_called_absent_nor_complete(
    tmp_path: Path, lifted_config: MakeConfig
) -> None:
    scene = render_primitives(0, objects=4, width=160, height=120)
    source = write_source(tmp_path / "source", [scene])
    about = json.loads((source / "0.json").read_text())
    kept = about["objects"][0]["label"]
    about["objects"] += [{"label": kept, "box": [0, 0, 2, 2]}, {"label": "Cup", "box": [0, 0, 2, 2]}]
    (source / "0.json").write_text(json.dumps(about))
    folder = lift_folder(source, tmp_path / "shards")
    assert LiftedDataset(folder)[0].meta["left_out"] == sorted(["Cup", kept])
    samples = samples_of(lifted_config(f"data.lifted={{{folder}: 1.0}}"))
    image = samples.sources[0].image(0)
    asked = set()
    for seed in range(60):
        _, questions = samples.sources[0].draw(image, 20, np.random.default_rng(seed))
        asked |= {q.prompt for q in questions}
    quoted = {prompt.split("'")[1] for prompt in asked if "'" in prompt}
    assert "person" in quoted
    assert not {"cup", "Cup", kept} & quoted


def test_referring_phrases_are_asked_and_those_of_a_side_not_in_a_mirror(
    tmp_path: Path, lifted_config: MakeConfig
) -> None:
    phrases = ["the thing on the left", "the thing nearby"]
    source = write_source(tmp_path / "source", [render_primitives(0, objects=1, width=160, height=120)], phrases)
    folder = lift_folder(source, tmp_path / "shards")
    samples = samples_of(lifted_config(f"data.lifted={{{folder}: 1.0}}", "data.referring=1.0"))
    image = samples.sources[0].image(0)
    x, y, z = image.objects[0].box.center
    turned = replace(image.objects[0], box=replace(image.objects[0].box, center=(-x, y, z)))
    for view, expected in ((image, phrases), (replace(image, objects=[turned]), phrases[1:])):
        _, questions = samples.sources[0].draw(view, 2, np.random.default_rng(0))
        said = [q for q in questions if any(p in q.prompt for p in phrases)]
        assert sorted(p for p in phrases if any(p in q.prompt for q in said)) == sorted(expected)
        assert all(q.boxes == ((0, image.objects[0].label),) for q in said)


def rewrite(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Changes the JSON of every sample of a run's first shard, in its place in the tar."""
    path = folder / "shard-000000.tar"
    out = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for member in old:
            data = old.extractfile(member).read()  # type: ignore[union-attr]
            if member.name.endswith(".json"):
                meta = json.loads(data)
                change(meta)
                data = json.dumps(meta, separators=(",", ":")).encode().ljust(len(data))
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    assert len(out.getvalue()) == path.stat().st_size
    path.write_bytes(out.getvalue())


@pytest.fixture
def damaged(shards: Path, tmp_path: Path) -> Path:
    """A copy of the run to break."""
    import shutil

    return Path(shutil.copytree(shards, tmp_path / "damaged"))


def test_damaged_data_is_named(damaged: Path, lifted_config: MakeConfig) -> None:
    override = f"data.lifted={{{damaged}: 1.0}}"
    rewrite(damaged, lambda meta: meta.pop("camera"))
    samples = samples_of(lifted_config(override, "data.limit=1"))
    with pytest.raises(ShardError, match=r"sample folder_0: no usable intrinsics .*KeyError: 'camera'.*source\.fov"):
        samples[0]
    tar = damaged / "shard-000001.tar"
    tar.write_bytes(tar.read_bytes()[:-1000])
    with pytest.raises(ShardError, match=r"shard-000001.tar: missing, or not \d+ bytes long; run the engine again"):
        samples_of(lifted_config(override))
    (damaged / INDEX).write_bytes(b"")
    tar.unlink()
    with pytest.raises(ShardError, match=r"shard-000001.tar: missing"):
        samples_of(lifted_config(override))


def test_an_object_without_a_usable_box_is_named(damaged: Path, lifted_config: MakeConfig) -> None:
    def behind(meta: dict[str, object]) -> None:
        meta["objects"][0]["box"]["center"][2] = -1  # type: ignore[index]

    rewrite(damaged, behind)
    samples = samples_of(lifted_config(f"data.lifted={{{damaged}: 1.0}}", "data.limit=1"))
    with pytest.raises(
        ShardError, match="sample folder_0: an object without a name or a finite box in front of the camera"
    ):
        samples[0]


def test_an_empty_folder_and_an_empty_run_are_named(tmp_path: Path, lifted_config: MakeConfig, shards: Path) -> None:
    with pytest.raises(ShardError, match=r"empty/manifest.json: missing; is the run finished\?"):
        samples_of(lifted_config(f"data.lifted={{{tmp_path / 'empty'}: 1.0}}"))
    about = json.loads((shards / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(about | {"samples": 0, "shards": []}))
    with pytest.raises(ShardError, match="the run holds no sample"):
        samples_of(lifted_config(f"data.lifted={{{tmp_path}: 1.0}}"))


def test_a_size_that_shows_no_object_is_named(lifted_config: MakeConfig) -> None:
    samples = samples_of(lifted_config("data.limit=1"))
    samples.sources[0].scenes.size = (1, 48)
    with pytest.raises(ShardError, match=r"no image shows an object that can be asked for at \(1, 48\) pixels"):
        samples[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.lifted={}"], "neither cache nor lifted is set"),
        (["data.lifted={a: 0.5}"], "the shares must sum to 1 without data.cache; got 0.5"),
        (["data.lifted={a: 1.0}", "data.cache=b"], "sum to 1 and leave nothing for data.cache"),
        (["data.lifted={a: much}"], "data.lifted.a must be float; got 'much'"),
        (["data.lifted=[a]"], "lifted must be dict; got .*"),
        (["data.size=small"], "a size must be WIDTHxHEIGHT, such as 256x192; got 'small'"),
        (["data.referring=2"], "data.referring must be a share from 0 to 1; got 2.0"),
    ],
)
def test_bad_settings_are_named(lifted_config: MakeConfig, overrides: list[str], message: str) -> None:
    with pytest.raises(N3DError, match=message):
        samples_of(lifted_config(*overrides))


def test_a_size_that_is_not_the_caches_is_refused(lifted_config: MakeConfig, small_cache: Path, shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.size is 32x32 and the images of .* 64x48: leave it out"):
        samples_of(lifted_config(f"data.cache={small_cache}", f"data.lifted={{{shards}: 0.5}}", "data.size=32x32"))


@pytest.mark.parametrize("path", sorted((ROOT / "training" / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_each_training_config_names_where_its_images_come_from(path: Path) -> None:
    data = TrainConfig.from_yaml(path).data
    assert data.cache or data.caches
    runs = [LiftConfig.from_yaml(p).output.folder for p in (ROOT / "training" / "lift" / "configs").glob("*.yaml")]
    assert set(data.lifted) <= set(runs)  # what a config of the data engine writes
    assert not TrainConfig.from_yaml(path, ["data.lifted={}"]).data.lifted
