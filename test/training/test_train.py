"""The trainer: resuming, many processes, adapters, and what happens when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from n3d_core.errors import ConfigError, N3DError
from n3d_core.geometry.boxes import pairwise_iou_3d
from n3d_core.geometry.frame import Frame
from n3d_core.language.prompts import ALL_OBJECTS
from n3d_core.n3d import N3D
from n3d_core.network.checkpoint import load_network
from training.data.sequences import from_cache
from training.data.stream import Numbers, SceneSamples
from training.learn.checkpoints import TrainingError
from training.learn.config import TrainConfig
from training.learn.model import TrainingModel, collate
from training.learn.optim import Float32Muon
from training.learn.parallel import Processes
from training.train import Trainer

MakeConfig = Callable[..., TrainConfig]
CPU = Processes(0, 1, torch.device("cpu"))
ROOT = Path(__file__).resolve().parents[2]


def losses(config: TrainConfig) -> dict[int, float]:
    """Loss of each step, the last word of a step that was done twice."""
    rows = [json.loads(line) for line in (Path(config.output) / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def test_a_killed_training_goes_on_with_the_same_loss_curve(
    make_config: MakeConfig, train_until_saved: Callable[[TrainConfig], None]
) -> None:
    whole = make_config("save_every=3", "output=" + str(make_config().output) + "-whole")
    Trainer(whole, CPU).run()

    broken = make_config("save_every=3")
    train_until_saved(broken)
    assert max(losses(broken)) == 3
    Trainer(broken, CPU).run()
    assert losses(broken) == losses(whole)
    first, second = (load_file(Path(c.output) / "model/model.safetensors") for c in (whole, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_auxiliary_heads_want_numbers_that_are_tokens(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config(), CPU)
    words = trainer.model.words
    assert words
    with pytest.raises(ConfigError, match=r"loss.dense: .* spells numbers by digits; set loss.dense to 0"):
        TrainingModel(trainer.model.network, [], [], (4.0, 4.0), words)


def test_the_exported_model_is_a_checkpoint_that_answers(make_config: MakeConfig) -> None:
    config = make_config("steps=2", "optim.ema=0.0")
    trainer = Trainer(config, CPU)
    trainer.run()
    folder = Path(config.output) / "model"
    network = load_network(folder)
    expected = trainer.model.embedding_table()
    torch.testing.assert_close(network.model.embed_tokens.weight, expected.detach())
    model = N3D.load(folder, "torch")
    assert model.config.pe_order == "aligned"


def test_each_process_takes_its_share_of_every_step() -> None:
    first, second = (iter(Numbers(12, 2, rank, 2)) for rank in (0, 1))
    assert [next(first), next(second), next(first), next(second)] == [[12, 13], [14, 15], [16, 17], [18, 19]]


def run_two_processes(folder: Path, overrides: list[str], make_config: MakeConfig) -> TrainConfig:
    """Trains through the real launcher; the config that it trained."""
    config = make_config(*overrides)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0",
               "--standalone", "-m", "training.train", str(folder / "config.yaml"), *overrides]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return config


def test_a_model_takes_no_memory_before_it_is_sharded(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: set[str] = set()

    def shard(self: Processes, model: TrainingModel, *_: object) -> None:
        devices.update(p.device.type for p in model.network.parameters())
        raise KeyboardInterrupt

    monkeypatch.setattr(Processes, "shard", shard)
    with pytest.raises(KeyboardInterrupt):
        Trainer(make_config(), Processes(0, 2, torch.device("cpu")))
    assert devices == {"meta"}


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_two_processes_train_as_one_that_accumulates(make_config: MakeConfig, tmp_path: Path, optimiser: str) -> None:
    name = f"optim.name={optimiser}"
    one = make_config("steps=3", "batch=1", "accumulate=4", name, f"output={tmp_path / 'one'}")
    Trainer(one, CPU).run()
    overrides = ["steps=3", "batch=1", "accumulate=2", name, f"output={tmp_path / 'two'}"]
    two = run_two_processes(tmp_path, overrides, make_config)
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)
    state, other = (load_file(Path(c.output) / "resume.safetensors") for c in (one, two))
    assert state.keys() == other.keys()
    worst = max(float((state[k] - other[k]).abs().max()) for k in state if k.startswith("model/"))
    assert worst < 1e-3


def test_whole_copies_in_two_processes_train_as_one_that_accumulates(make_config: MakeConfig, tmp_path: Path) -> None:
    one = make_config("steps=3", "batch=1", "accumulate=4", f"output={tmp_path / 'one'}")
    Trainer(one, CPU).run()
    overrides = ["steps=3", "batch=1", "accumulate=2", "sharding=ddp", f"output={tmp_path / 'two'}"]
    two = run_two_processes(tmp_path, overrides, make_config)
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)


def test_compiled_blocks_change_no_loss(make_config: MakeConfig, tmp_path: Path) -> None:
    plain, compiled = (make_config("steps=2", f"compiled={v}", f"output={tmp_path / v}") for v in ("false", "true"))
    Trainer(plain, CPU).run()
    Trainer(compiled, CPU).run()
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-4)


def test_half_precision_changes_the_loss_by_its_digits_only(make_config: MakeConfig, tmp_path: Path) -> None:
    plain, half = (make_config("steps=2", f"precision={v}", f"output={tmp_path / v}") for v in ("fp32", "bf16"))
    Trainer(plain, CPU).run()
    Trainer(half, CPU).run()
    assert losses(half) == pytest.approx(losses(plain), rel=2e-2)
    assert losses(half) != losses(plain)


@pytest.mark.parametrize(("instructions", "expected"), [(False, "fp32"), (True, "bf16")])
def test_the_precision_that_is_faster_here_is_that_of_the_processors_instructions(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, instructions: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    trainer = Trainer(make_config("precision=auto", "optim.name=muon"), CPU)
    assert trainer.config.precision == expected
    assert isinstance(trainer.optimiser.parts[0], Float32Muon) == (expected == "fp32")


def test_a_two_process_state_is_taken_up_by_one_process(make_config: MakeConfig, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m",
               "training.train", str(tmp_path / "config.yaml"), "steps=2", "batch=1"]  # fmt: skip
    config = make_config("steps=3")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert ran.returncode == 0, ran.stderr[-2000:]
    trainer = Trainer(config, CPU)
    assert trainer.step == 2
    following = next(trainer._batches()).ids
    expected = collate([trainer.samples[4], trainer.samples[5]], trainer.model_config, 0).ids
    assert following.shape[0] == 2
    assert torch.equal(following[expected > 0], expected[expected > 0])
    trainer.run()
    assert sorted(losses(config)) == [1, 2, 3]


def test_adapters_train_little_and_fold_into_the_export(make_config: MakeConfig, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="adapters come from peft")
    first = make_config("steps=1", f"output={tmp_path / 'base'}")
    Trainer(first, CPU).run()
    base = tmp_path / "base" / "model"
    config = make_config("steps=2", f"init={base}", "train=lora", "lora.rank=4", "loss.dense=0.0", "optim.ema=0.0")
    trainer = Trainer(config, CPU)
    trained = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert any("lora_A" in n for n in trained)
    assert not any(n.endswith("base_layer.weight") or "embed_tokens" in n for n in trained)
    trainer.run()
    before, after = load_file(base / "model.safetensors"), load_file(Path(config.output) / "model/model.safetensors")
    assert before.keys() == after.keys()
    name = "model.layers.0.self_attn.q_proj.weight"
    module = trainer.model.network.get_submodule("model.layers.0.self_attn.q_proj")
    torch.testing.assert_close(after[name], module.base_layer.weight + module.get_delta_weight("default").detach())
    assert not torch.equal(after[name], before[name])
    assert torch.equal(after["model.layers.0.input_layernorm.weight"], before["model.layers.0.input_layernorm.weight"])


def test_recomputing_activations_changes_no_loss(make_config: MakeConfig, tmp_path: Path) -> None:
    plain, again = make_config("steps=2"), make_config("steps=2", "checkpointing=true", f"output={tmp_path / 'again'}")
    for config in (plain, again):
        Trainer(config, CPU).run()
    assert losses(plain) == pytest.approx(losses(again), rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_the_batch_saved_and_the_checkpoint_kept(make_config: MakeConfig) -> None:
    config = make_config("steps=2")
    Trainer(config, CPU).run()
    kept = (Path(config.output) / "resume.safetensors").read_bytes()
    trainer = Trainer(make_config("steps=4"), CPU)
    trainer.model.number_map.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan at step 2"):
        trainer.run()
    batch = load_file(Path(config.output) / "nan-batch-2-0.safetensors")
    assert batch["ids"].shape[0] == 2
    assert (Path(config.output) / "resume.safetensors").read_bytes() == kept


def test_a_full_disk_keeps_what_was_saved(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("steps=1")
    Trainer(config, CPU).run()
    kept = (Path(config.output) / "resume.safetensors").read_bytes()
    left = shutil.disk_usage(config.output)._replace(free=10_000)
    monkeypatch.setattr("training.learn.checkpoints.shutil.disk_usage", lambda _: left)
    with pytest.raises(TrainingError, match=r"safetensors: cannot be written \(.* 0.00 GB free\).*free the disk"):
        Trainer(make_config("steps=2"), CPU).run()
    assert (Path(config.output) / "resume.safetensors").read_bytes() == kept


def test_a_disk_that_fills_up_while_a_file_is_written_keeps_what_was_saved(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config("steps=1")
    Trainer(config, CPU).run()
    saved = [Path(config.output) / "resume.safetensors", Path(config.output) / "model/model.safetensors"]
    kept = [path.read_bytes() for path in saved]
    make_config("steps=2")
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "from training.train import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", limited, str(tmp_path / "config.yaml"), "steps=2"]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "model.safetensors: cannot be written" in last
    assert "free the disk and run again" in last
    assert [path.read_bytes() for path in saved] == kept
    assert not list(Path(config.output).rglob("*.part"))


def test_a_state_cut_short_is_named(make_config: MakeConfig) -> None:
    config = make_config("steps=1")
    Trainer(config, CPU).run()
    path = Path(config.output) / "resume.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(TrainingError, match=r"resume.safetensors: not the state of a training, or cut short"):
        Trainer(config, CPU)


def test_a_state_of_another_model_is_refused(make_config: MakeConfig) -> None:
    config = make_config("steps=1")
    Trainer(config, CPU).run()
    path = Path(config.output) / "resume.safetensors"
    state = load_file(path)
    state["model/number_map"] = torch.zeros(3, 3)
    save_file(state, path, metadata={"step": "1"})
    with pytest.raises(TrainingError, match=r"does not contain number_map of shape \[65, 96\]"):
        Trainer(config, CPU)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.speed=1", "unknown key 'speed'"),
        ("precision=fp8", "precision must be one of fp32, bf16, auto; got 'fp8'"),
        ("batch=0", "batch must be at least 1; got 0"),
        ("optim.speed=1", "in optim; known keys are name, matrix_lr, lr,"),
        ("stpes=1", "unknown key 'stpes'; known keys are init, output, data,"),
        ("batch=two", "batch must be int; got 'two'"),
        ("data.mixture={label: yes}", "data.mixture.label must be float; got True"),
        ("data.cache.x=1", "data.cache is not a mapping"),
        ("data.mixture={cats: 1.0}", r"unknown kinds \['cats'\]"),
        ("data.cache=/nowhere", "/nowhere: no shard found"),
        ("validation.every=7", "a multiple of save_every"),
        ("optim.name=sgd", "optim.name must be 'muon' or 'adamw'; got 'sgd'"),
    ],
)
def test_bad_settings_are_named(make_config: MakeConfig, override: str, message: str) -> None:
    with pytest.raises(N3DError, match=message):
        Trainer(make_config(override), CPU)


def test_numbers_of_the_command_line_need_no_point(make_config: MakeConfig) -> None:
    assert make_config("optim.lr=1e-4", "optim.ema=0").optim.lr == 1e-4


def test_a_config_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match=r"must be a mapping; got .* \(list\)"):
        TrainConfig.from_yaml(path)


OVERFIT = (
    "steps=300", "batch=8", "log_every=20", "save_every=300", "data.augment=false", "data.limit=8",
    "data.mixture={detect: 1.0}", "loss.sigma=0.0", "loss.dense=0.0", "optim.ema=0.0", "optim.warmup_steps=20",
    "optim.weight_decay=0.0",
)  # fmt: skip


@pytest.mark.slow
def test_eight_samples_are_learnt_exactly_through_the_real_command(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(*OVERFIT)
    command = [sys.executable, "-m", "training.train", str(tmp_path / "config.yaml"), *OVERFIT]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=environment)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert losses(config)[300] < 0.01

    model = N3D.load(Path(config.output) / "model", "torch")
    samples = SceneSamples(config, model.config, model.tokenizer)
    for index in range(8):
        image = from_cache(samples.cache[index])
        found = model.look(Frame(image.color, image.depth, image.camera)).ground(ALL_OBJECTS)
        sample = samples.maker.make(image, samples.sources[0].draw(image, 1, np.random.default_rng(0))[1], 1.0)
        wanted = sample.packed.targets[sample.packed.targets >= 0].tolist()
        assert found.text == model.tokenizer.decode(wanted)
        true = [o.box for o in image.objects if o.groundable]
        assert len(found.boxes) == len(true)
        assert all(pairwise_iou_3d([box], true).max() > 0.8 for box in found.boxes)
