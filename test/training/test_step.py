"""One step of a training: its parts add up, nothing is undefined where there is nothing, every kernel sees the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from n3d_core.network.model import rotate
from training.data.packing import IGNORE
from training.learn import attention
from training.learn.attention import PackedAttention, packed_mask
from training.learn.checkpoints import TrainingError
from training.learn.config import TrainConfig
from training.learn.dense import MOST_MEASURED, measured_patches
from training.learn.model import GUIDED_HEADS, Batch, collate
from training.learn.parallel import Processes
from training.train import Trainer

MakeConfig = Callable[..., TrainConfig]
CPU = Processes(0, 1, torch.device("cpu"))


def batch_of(trainer: Trainer, count: int = 4) -> Batch:
    samples = [trainer.samples[i] for i in range(count)]
    return collate(samples, trainer.model_config, trainer.tokenizer.id_of("<|endoftext|>"))


@pytest.mark.parametrize("dense", ["0.0", "1.0"])
def test_accumulated_parts_are_one_large_batch(make_config: MakeConfig, tmp_path: Path, dense: str) -> None:
    mixture = "data.mixture={label: 1.0, absent: 1.0, reason: 2.0}"  # parts of very different weights
    shared = [mixture, f"loss.dense={dense}", "steps=2", "save_every=2", "optim.ema=0.0"]
    for name, parts in (("whole", ["batch=4"]), ("parts", ["batch=1", "accumulate=4"])):
        Trainer(make_config(*shared, *parts, f"output={tmp_path / name}"), CPU).run()
    whole, parts = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("whole", "parts"))
    worst = max(float((whole[n] - parts[n]).abs().max()) for n in whole)
    assert worst < 5e-4


@pytest.mark.parametrize("kind", ["absent", "reason"])
def test_a_batch_in_which_nothing_points_is_learnt_from(make_config: MakeConfig, kind: str) -> None:
    config = make_config(f"data.mixture={{{kind}: 1.0}}", "steps=2", "save_every=2")
    trainer = Trainer(config, CPU)
    trainer.run()
    text = (Path(config.output) / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_a_gradient_that_is_not_finite_changes_no_weight(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config("steps=1"), CPU)
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"the gradient's norm is .* at step 0: the batch is saved"):
        trainer.run()
    assert all(torch.equal(before[n], p) for n, p in trainer.model.named_parameters())


def test_each_image_is_asked_for_the_same_patches_in_every_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = (torch.rand((5, 192), generator=generator) > torch.tensor([0.1, 0.5, 0.9, 0.98, 1.0])[:, None]).long()
    together = measured_patches(classes)
    assert torch.equal(together, torch.cat([measured_patches(row[None]) for row in classes]))
    assert (together <= (classes > 0)).all()
    assert all(0 < n <= MOST_MEASURED for n in together[:4].sum(dim=1).tolist())
    assert not together[4].any()


def test_fetching_looks_at_exactly_what_a_token_sees(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config(), CPU)
    model, batch = trainer.model, batch_of(trainer)
    pads = batch.ids == trainer.model_config.image_token_id
    middle = torch.randn((*batch.ids.shape, trainer.model_config.text.hidden_size))
    found = model._fetching(middle, pads, batch)

    layers = model.network.model.layers
    layer = layers[len(layers) // 2]
    states, size = layer.input_layernorm(middle), layer.self_attn.head_size
    q = layer.self_attn.q_proj(states).unflatten(-1, (-1, size))[:, :, :GUIDED_HEADS]
    k = layer.self_attn.k_proj(states).unflatten(-1, (-1, size))[:, :, :1]
    cos, sin = batch.cos.transpose(1, 2), batch.sin.transpose(1, 2)
    scores = torch.einsum("bqhd,bkd->bhqk", rotate(q, cos, sin), rotate(k, cos, sin)[:, :, 0]) * size**-0.5
    logs = F.log_softmax(scores.masked_fill(~packed_mask(batch.segments), -torch.inf), dim=-1)
    expected = torch.zeros(())
    for (row, place), shares in zip(batch.pointed.tolist(), batch.shares, strict=True):
        if shares[-1] < 0.5:
            expected = expected - (shares[:-1] * logs[row, :, place][:, pads[row]]).sum() / GUIDED_HEADS
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def _attended(kernel: attention.Kernel, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    segments = torch.repeat_interleave(torch.tensor([0, 1, 2, IGNORE]), torch.tensor([40, 30, 50, 8]))[None]
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn((1, heads, 128, 16), generator=generator).to(dtype) for heads in (4, 2, 2))
    with PackedAttention(kernel, segments) as packed:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=packed.mask, enable_gqa=True).float()


def test_repeated_keys_change_nothing() -> None:
    torch.testing.assert_close(_attended("repeated"), _attended("dense"))


def test_half_precision_attention_of_a_cpu_is_computed_in_fp32() -> None:
    torch.testing.assert_close(_attended("fp32", torch.bfloat16), _attended("dense"), atol=2e-2, rtol=2e-2)


def test_flex_attention_sees_what_the_dense_mask_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention.flex_attention import flex_attention

    monkeypatch.setattr(attention, "_flex", lambda: flex_attention)  # its plain form: no compiler on this machine
    torch.testing.assert_close(_attended("flex"), _attended("dense"), atol=1e-5, rtol=1e-5)


def test_flex_attention_that_does_not_run_is_said_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attention, "_flex", lambda: (_ for _ in ()).throw(RuntimeError("no compiler")))
    assert not attention._flex_agrees(torch.device("cpu"), torch.float32)
    assert "FlexAttention does not run (RuntimeError: no compiler): using a dense mask" in capsys.readouterr().err


def test_half_precision_with_recomputed_activations_trains_on_a_cpu(make_config: MakeConfig, tmp_path: Path) -> None:
    shared = ["precision=bf16", "steps=2", "save_every=2"]
    for name, value in (("plain", "false"), ("again", "true")):
        Trainer(make_config(*shared, f"checkpointing={value}", f"output={tmp_path / name}"), CPU).run()
    plain, again = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("plain", "again"))
    assert all(torch.equal(plain[n], again[n]) for n in plain)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=7"], r"made with seed = 0, but it is now 7: use a new output folder, with start_from"),
        (["data.tokens=200"], r"made with data.tokens = 160, but it is now 200"),
        (["data.mixture={label: 1.0}"], r"made with data.mixture = .*, but it is now \{'label': 1.0\}"),
        (["batch=1"], r"made with 2 images a step, but a step now has 1.*set accumulate so that .* is 2"),
        (["train=lora"], r"made with train = full, but it is now lora"),
    ],
)
def test_a_state_of_other_data_or_of_another_kind_is_refused(
    make_config: MakeConfig, overrides: list[str], message: str
) -> None:
    if "train=lora" in overrides:
        pytest.importorskip("peft", reason="adapters come from peft")
    Trainer(make_config("steps=1", "loss.dense=0.0"), CPU).run()
    with pytest.raises(TrainingError, match=message):
        Trainer(make_config("steps=2", "loss.dense=0.0", *overrides), CPU)


def test_a_training_goes_on_with_other_rates_and_other_parts_of_the_same_steps(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(make_config("steps=1"), CPU).run()
    capsys.readouterr()
    trainer = Trainer(make_config("steps=2", "batch=1", "accumulate=2", "optim.lr=1e-4"), CPU)
    said = capsys.readouterr().err
    assert "optim.lr is 0.0001 now, and was 0.001" in said
    assert "resumed" in said
    assert trainer._batches().__next__().ids.shape[0] == 1
    assert trainer.images_per_step * trainer.step == 2
