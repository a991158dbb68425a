"""Muon's orthogonalisation in fp32 against torch's own in bf16."""

from __future__ import annotations

import pytest
import torch

from training.learn.optim import Float32Muon, orthogonalised

RATE = 0.05


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (32, 32)], ids=str)
def test_steps_are_those_of_torch_but_for_the_rounding_of_its_products(shape):
    torch.manual_seed(1)
    start = torch.randn(shape)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    settings = {"lr": RATE, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    own, torchs = Float32Muon([ours], **settings), torch.optim.Muon([theirs], **settings)
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(shape)
        own.step()
        torchs.step()
    moved = (theirs.detach() - start).norm()
    assert (ours.detach() - theirs.detach()).norm() < 0.02 * moved
    assert torch.equal(own.state[ours]["momentum_buffer"], torchs.state[theirs]["momentum_buffer"])


def test_a_state_of_torchs_optimiser_is_taken_up():
    parameter = torch.nn.Parameter(torch.randn(8, 12))
    parameter.grad = torch.randn(8, 12)
    theirs = torch.optim.Muon([parameter])
    theirs.step()
    ours = Float32Muon([parameter])
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours.state[parameter]["momentum_buffer"], theirs.state[parameter]["momentum_buffer"])


def test_singular_values_come_near_one():
    torch.manual_seed(0)
    found = orthogonalised(torch.randn(48, 16), (3.4445, -4.7750, 2.0315), 5, 1e-7)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5
    assert values.max() < 1.4
