"""Trainings that cannot work as asked: refused with a sentence that says what to do, and what was saved stays."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from n3d_core.errors import ConfigError, N3DError
from training.learn.checkpoints import Piece, TrainingError, write_pieces
from training.learn.config import TrainConfig
from training.learn.parallel import Processes
from training.learn.progress import Progress
from training.scenes.cache import CacheError, write_cache
from training.scenes.scene_config import SceneConfig
from training.train import Trainer

MakeConfig = Callable[..., TrainConfig]
CPU = Processes(0, 1, torch.device("cpu"))


def test_metrics_on_a_full_disk_stop_with_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="draws the metrics")
    progress = Progress(tmp_path, 2, tensorboard=True)
    progress.write({"step": 1, "loss": 2.0})
    kept = progress.path.read_bytes()
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("training.learn.progress.shutil.disk_usage", lambda _: full)
    with pytest.raises(
        TrainingError, match=r"metrics.jsonl: cannot be written .* no space left.*free the disk and run"
    ):
        progress.write({"step": 2, "loss": 1.0})
    assert progress.path.read_bytes() == kept
    with pytest.raises(OSError, match="no space left"):  # not in TensorBoard's own thread
        Progress(tmp_path, 2, tensorboard=True)


def test_a_loss_that_is_not_finite_is_said_on_a_full_disk_too(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(make_config("steps=1"), CPU)
    full = shutil.disk_usage(trainer.output)._replace(free=10)
    monkeypatch.setattr("training.learn.checkpoints.shutil.disk_usage", lambda _: full)
    trainer.model.number_map.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"^the loss is nan at step 0: the last good checkpoint is kept"):
        trainer.run()


def test_a_file_is_written_tensor_by_tensor(tmp_path: Path) -> None:
    made: list[weakref.ref[torch.Tensor]] = []

    def piece(value: float) -> Piece:
        def make() -> torch.Tensor:
            assert not any(ref() is not None for ref in made)  # the one before is gone
            tensor = torch.full((3, 2), value)
            made.append(weakref.ref(tensor))
            return tensor

        return Piece((3, 2), torch.float32, make)

    write_pieces(tmp_path / "x.safetensors", {str(i): piece(float(i)) for i in range(4)}, {})
    assert {n: float(v.mean()) for n, v in load_file(tmp_path / "x.safetensors").items()} == {
        "0": 0, "1": 1, "2": 2, "3": 3
    }  # fmt: skip


def test_weights_of_another_tokenizer_are_refused_and_stay(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("steps=1")
    Trainer(config, CPU).run()
    kept = (Path(config.output) / "resume.safetensors").read_bytes()
    other = tmp_path / "other"
    shutil.copytree(config.init, other)
    text = (other / "tokenizer.json").read_text()
    ids = json.loads(text)["model"]["vocab"]
    first, second = [word for word in ids if word.isalpha() and word.isascii()][-2:]
    swapped = json.loads(text)
    swapped["model"]["vocab"] |= {first: ids[second], second: ids[first]}
    (other / "tokenizer.json").write_text(json.dumps(swapped))  # as many tokens, and the special ones where they were
    refused = r"its weights were trained with another tokenizer than .*other/tokenizer.json, .*put the tokenizer back"
    with pytest.raises(TrainingError, match=r"out/resume.safetensors: " + refused):
        Trainer(make_config("steps=2", f"init={other}"), CPU)
    anew = (f"init={other}", f"output={tmp_path / 'next'}")
    with pytest.raises(TrainingError, match=r"out/resume.safetensors: " + refused):
        Trainer(make_config(*anew, f"start_from={config.output}/resume.safetensors"), CPU)
    shutil.copyfile(Path(config.output) / "model/model.safetensors", other / "model.safetensors")
    with pytest.raises(TrainingError, match=r"other/model.safetensors: " + refused):
        Trainer(make_config(*anew), CPU)
    assert (Path(config.output) / "resume.safetensors").read_bytes() == kept
    (other / "tokenizer.json").write_text(json.dumps(json.loads(text), indent=7))  # the same in another form
    assert Trainer(make_config(*anew), CPU).step == 0


@pytest.mark.parametrize("rank", [0, 3])
def test_a_config_for_eight_gpus_on_a_machine_with_one_is_said_once(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", 8), ("LOCAL_WORLD_SIZE", 8)):
        monkeypatch.setenv(name, str(value))
    said = "8 processes were started here, but torch sees 1 GPU.*--nproc-per-node 1.*accumulate 8 times as large"
    with pytest.raises(SystemExit if rank else ConfigError, match="1" if rank else said):
        Processes.start()


@pytest.mark.parametrize(("how", "calls"), [("step", [False, False, True]), ("micro_batch", [True, True, True])])
def test_gradients_are_exchanged_once_a_step_or_with_each_part(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, how: str, calls: list[bool]
) -> None:
    exchanged: list[bool] = []
    inner = Processes.exchanging

    def exchanging(self: Processes, model: torch.nn.Module, now: bool) -> AbstractContextManager[None]:
        exchanged.append(now)
        return inner(self, model, now)

    monkeypatch.setattr(Processes, "exchanging", exchanging)
    Trainer(make_config("steps=1", "batch=1", "accumulate=3", f"gradient_sync={how}"), CPU).run()
    assert exchanged == calls


def test_a_cache_of_another_shape_is_refused_and_one_that_is_smaller_is_said(
    make_config: MakeConfig, small_init: Path, small_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = tmp_path / "init"
    shutil.copytree(small_init, init)
    config = json.loads((init / "config.json").read_text())

    def trainer(longest: int, ratios: list[str]) -> Trainer:
        config["n3d"] |= {"image_longest_side": longest, "ratios": ratios}
        (init / "config.json").write_text(json.dumps(config))
        return Trainer(make_config(f"init={init}", "steps=1"), CPU)

    with pytest.raises(ConfigError, match=r"its images are 64x48, but the model of .* takes the aspect ratios 16:9, 1:1"
                       r": make them in one of these, or add 4:3 to n3d.ratios"):  # fmt: skip
        trainer(64, ["16:9", "1:1"])
    smaller = f"warning: {small_cache}: its images are 64x48 and are enlarged for the model of {init}, which "
    for longest, said in ((64, False), (128, True)):
        trainer(longest, [])._introduce()
        assert (smaller in capsys.readouterr().err) == said


def test_a_state_of_images_of_another_size_is_refused(
    make_config: MakeConfig, small_cache: Path, tmp_path: Path
) -> None:
    def rendered(height: int) -> None:
        shutil.rmtree(tmp_path / "wide", ignore_errors=True)
        scenes = SceneConfig(width=64, height=height, objects=(1, 3))
        write_cache(tmp_path / "wide", range(100, 102), 1, scenes, 1, lambda _: None)

    rendered(36)
    caches = f"data.caches={{{small_cache}: 0.5, {tmp_path / 'wide'}: 0.5}}"
    Trainer(make_config("steps=1", "data.cache=''", caches), CPU).run()
    rendered(40)
    with pytest.raises(TrainingError, match=r"made with images of 64x48, 64x36 pixels, .* now 64x48, 64x40: use a new"):
        Trainer(make_config("steps=2", "data.cache=''", caches), CPU)


@pytest.mark.parametrize(("height", "fits"), [(48, True), (40, False)])
def test_a_state_of_before_is_compared_by_what_it_holds(make_config: MakeConfig, height: int, fits: bool) -> None:
    Trainer(make_config("steps=1"), CPU).run()
    path = make_config().output + "/resume.safetensors"
    with safe_open(path, framework="pt") as file:
        held = file.metadata()
    about = json.loads(held["about"])
    del about["sizes"]
    about = {"step": held["step"], "config": held["config"], "about": json.dumps(about | {"size": [64, height]})}
    save_file(load_file(path), path, metadata=about)  # it knows neither the tokenizer nor the sizes of all sources
    if fits:
        assert Trainer(make_config("steps=2"), CPU).step == 1
    else:
        with pytest.raises(TrainingError, match=r"made with images of 64x40 pixels, .* now 64x48: use a new output"):
            Trainer(make_config("steps=2"), CPU)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "seed must be at least 0; got -1"),
        ("output=/dev/null", "output /dev/null: not a folder"),
        ("data.tokens=10", "data.tokens: 10 leaves no room for any question"),
    ],
)
def test_settings_that_train_nothing_are_refused(make_config: MakeConfig, override: str, message: str) -> None:
    with pytest.raises(N3DError, match=message):
        Trainer(make_config(override), CPU).run()


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".json", b'{"format": 1, "conf'),
        (".json", b"{}"),
        (".json", b"[1]"),
        (".safetensors", b"\xff" * 8),
        (".safetensors", b""),
    ],
)
def test_a_damaged_shard_of_a_cache_is_named(
    make_config: MakeConfig, small_cache: Path, tmp_path: Path, suffix: str, content: bytes
) -> None:
    shutil.copytree(small_cache, tmp_path / "cache")
    path = next((tmp_path / "cache").glob(f"*{suffix}"))
    whole = path.read_bytes()
    path.write_bytes(content + (whole[len(content) :] if suffix == ".safetensors" and content else b""))
    with pytest.raises(CacheError, match=rf"{path}: (damaged .* render again|missing or cut short)"):
        Trainer(make_config(f"data.cache={tmp_path / 'cache'}"), CPU)
