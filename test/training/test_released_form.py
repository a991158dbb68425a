"""Trainings from checkpoints in the released form: cache, stage 1, stage 2, export, queries and evaluation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from n3d_core.cli import main as n3d
from n3d_core.errors import N3DError
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from test.training.released_form import qwen_tokenizer, write_released
from training.evaluate import main as evaluate
from training.learn.checkpoints import TrainingError
from training.learn.config import TrainConfig
from training.learn.parallel import Processes
from training.train import Trainer

CPU = Processes(0, 1, torch.device("cpu"))
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "training" / "configs"
FRAME = ROOT / "demo" / "frames"
SHORT = ("data.lifted={}", "data.tokens=1000", "data.workers=0", "data.limit=2", "steps=6", "save_every=6", "batch=1",
         "accumulate=1", "log_every=1", "optim.lr=3e-3", "optim.warmup_steps=1", "tensorboard=false",
         "threads=1")  # fmt: skip
Short = Callable[..., list[str]]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `tied` (as the 3B) and `untied` (as the 7B)."""
    root = tmp_path_factory.mktemp("released")
    for name in ("tied", "untied"):
        write_released(root / name, tied=name == "tied")
    return root


@pytest.fixture
def short(small_cache: Path) -> Short:
    """Overrides that make a shipped config a short training on a few small scenes."""
    return lambda init, output, *more: [*SHORT, f"data.cache={small_cache}", f"init={init}", f"output={output}", *more]


def losses(output: Path) -> list[float]:
    """Loss of each step."""
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows]


def trained(name: str, overrides: list[str]) -> Trainer:
    """Trains a shipped config in this process."""
    trainer = Trainer(TrainConfig.from_yaml(CONFIGS / name, overrides), CPU)
    trainer.run()
    return trainer


def assert_export_equals(trainer: Trainer) -> None:
    """Compares a run's export with the weights that were trained, adapters folded in."""
    network = trainer.model.network
    found = load_network(trainer.output / "model", None).state_dict()
    for name, parameter in network.named_parameters():
        if ".lora_" in name:
            continue
        expected = parameter.detach()
        if name.endswith(".base_layer.weight"):
            adapted = network.get_submodule(name.removesuffix(".base_layer.weight"))
            expected = expected.float() + adapted.get_delta_weight("default").detach()
        torch.testing.assert_close(found.pop(name.replace(".base_layer.", ".")), expected, atol=1e-6, rtol=1e-5)
    assert not found


@pytest.mark.parametrize(("size", "kind"), [("3b", "tied"), ("7b", "untied")])
def test_both_stages_train_all_weights_of_a_released_checkpoint_and_its_export_answers(
    released: Path, short: Short, tmp_path: Path, size: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trained(f"{size}_localisation.yaml", short(released / kind, tmp_path / "first"))
    assert losses(tmp_path / "first")[-1] < losses(tmp_path / "first")[0] - 0.1
    assert_export_equals(first)
    second = trained(f"{size}_reasoning.yaml", short(tmp_path / "first" / "model", tmp_path / "second"))
    assert losses(tmp_path / "second")[-1] < losses(tmp_path / "first")[0] - 0.1
    assert_export_equals(second)

    folder = tmp_path / "second" / "model"
    assert N3DConfig.from_file(folder / "config.json").pe_order == "aligned"
    assert ("lm_head.weight" in load_file(folder / "model.safetensors")) == (kind == "untied")
    query = [str(FRAME / "000000.color.png"), "--depth", str(FRAME / "000000.depth.png"), "--camera",
             str(FRAME / "camera.yaml"), "--model", str(folder), "--backend", "torch"]  # fmt: skip
    assert n3d(["ground", *query, "red mug"]) == 0
    assert n3d(["ask", *query, "How far is the red mug from the blue box?"]) == 0
    capsys.readouterr()
    asked = ["--scenes", "1", "--groundings", "1", "--questions", "1", "--marked", "0", "--workers", "1", "--fresh"]
    assert evaluate(["--checkpoint", str(folder), *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["suite"]["frames"] == 1


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_adapters_of_a_released_checkpoint_are_trained_in_fp32_beside_bf16_and_folded_in(
    released: Path, short: Short, tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("peft", reason="adapters come from peft")
    trainer = trained("3b_lora.yaml", short(released / kind, tmp_path / "out"))
    assert losses(tmp_path / "out")[-1] < losses(tmp_path / "out")[0] - 0.05
    types = {p.requires_grad: set() for p in trainer.model.parameters()}
    for parameter in trainer.model.parameters():
        types[parameter.requires_grad].add(parameter.dtype)
    assert types == {True: {torch.float32}, False: {torch.bfloat16}}
    learnt = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert any(".visual.merger." in n for n in learnt)
    moments = [v for n, v in trainer.optimiser.tensors().items() if n.endswith(("exp_avg", "exp_avg_sq"))]
    assert len(moments) == 2 * len(learnt)
    assert {v.dtype for v in moments} == {torch.float32}
    assert_export_equals(trainer)
    before = load_file(released / kind / "model.safetensors")
    after = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])


@pytest.mark.parametrize(
    ("config", "kind", "precision", "near"),
    [("3b_localisation.yaml", "tied", "fp32", 1e-4), ("3b_lora.yaml", "untied", "bf16", 1e-2)],
)
def test_two_processes_train_a_released_checkpoint_as_one_does(
    released: Path, short: Short, tmp_path: Path, config: str, kind: str, precision: str, near: float
) -> None:
    more = [f"precision={precision}", "steps=3", "save_every=3"]
    one = trained(config, short(released / kind, tmp_path / "one", *more, "accumulate=2"))
    assert_export_equals(one)
    overrides = short(released / kind, tmp_path / "two", *more)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
               "-m", "training.train", str(CONFIGS / config), *overrides]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=near)
    weights, others = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("one", "two"))
    assert {n: w.dtype for n, w in weights.items()} == {n: w.dtype for n, w in others.items()}
    worst = max(float((weights[n].float() - others[n].float()).abs().max()) for n in weights)
    assert worst < (2e-3 if precision == "fp32" else 2e-2)  # AdamW makes whole steps of a tiny gradient's rounding


@pytest.mark.parametrize(
    ("architecture", "override", "order"),
    [
        ("Qwen2_5_VLForConditionalGeneration", "auto", "aligned"),
        ("Qwen2_5_VLForConditionalGeneration_pe", "auto", "row_major"),
        ("Qwen2_5_VLForConditionalGeneration", "row_major", "row_major"),
        ("Qwen2_5_VLForConditionalGeneration_pe", "aligned", "aligned"),
    ],
)
def test_the_order_of_the_encoding_is_the_configs_and_the_exports(
    short: Short, tmp_path: Path, architecture: str, override: str, order: str
) -> None:
    folder = write_released(tmp_path / "init", architecture=architecture)
    overrides = short(folder, tmp_path / "out", f"pe_order={override}", "steps=1")
    trainer = Trainer(TrainConfig.from_yaml(CONFIGS / "3b_localisation.yaml", overrides), CPU)
    assert trainer.model_config.pe_order == order
    assert trainer.model_config.points == ("mean" if architecture.endswith("_pe") else "valid")
    trainer.save()
    assert N3DConfig.from_file(tmp_path / "out" / "model" / "config.json").pe_order == order


def test_a_tokenizer_of_another_model_is_named(short: Short, tmp_path: Path) -> None:
    folder = write_released(tmp_path / "init")
    qwen_tokenizer(300).save(str(folder / "tokenizer.json"))
    with pytest.raises(N3DError, match=r"tokenizer.json: <\|image_pad\|> has id .*this is another model's tokenizer"):
        Trainer(TrainConfig.from_yaml(CONFIGS / "3b_lora.yaml", short(folder, tmp_path / "out")), CPU)


def test_a_config_for_eight_processes_says_what_one_makes_of_it(
    released: Path, short: Short, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [o for o in short(released / "tied", tmp_path / "out", "steps=1") if o[:6] not in ("batch=", "accumu")]
    trainer = Trainer(TrainConfig.from_yaml(CONFIGS / "3b_localisation.yaml", overrides), CPU)
    trainer._introduce()
    said = capsys.readouterr().err
    assert "for 8 processes and 1 run: a step has 16 images instead of 128; accumulate=32 keeps it" in said


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    released: Path, short: Short, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.learn.build.os.sysconf", lambda name: {"SC_PAGE_SIZE": 1000}.get(name, 1000))
    overrides = short(released / "tied", tmp_path / "out")
    with pytest.raises(TrainingError, match=r"GB .* this machine has 0 GB: start more processes .*train: lora"):
        Trainer(TrainConfig.from_yaml(CONFIGS / "3b_localisation.yaml", overrides), CPU)
