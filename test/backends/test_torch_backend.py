"""The torch backend: its step of fixed shapes, its buckets, and a GPU's graphs where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from n3d_core.backends.torch_backend import FIRST_CAPACITY, TorchBackend
from n3d_core.errors import BackendError
from n3d_core.network.checkpoint import load_network
from n3d_core.network.preprocess import VisionInput

from .test_onnx_backend import replies

gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need an NVIDIA GPU that torch can use"),
]


def test_the_step_of_fixed_shapes_equals_the_plain_one(checkpoint: Path, image: VisionInput) -> None:
    network = load_network(checkpoint)
    plain, fixed = TorchBackend(network, static_steps=False), TorchBackend(network, static_steps=True)
    np.testing.assert_allclose(replies(fixed, image), replies(plain, image), atol=2e-5)


def test_the_step_follows_the_cache_into_a_larger_one(checkpoint: Path) -> None:
    network = load_network(checkpoint)
    found = []
    for static in (False, True):
        sequence = TorchBackend(network, static_steps=static).start()
        length = FIRST_CAPACITY - 1
        sequence.extend([n % 400 for n in range(length)], np.tile(np.arange(length), (3, 1)))
        steps = [sequence.extend([7 + n], np.full((3, 1), length + n)) for n in range(3)]
        found.append(np.concatenate(steps))
    np.testing.assert_allclose(found[1], found[0], atol=2e-5)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("_", [pytest.param(None, marks=gpu)])
def test_cuda_graphs_equal_plain_steps(checkpoint: Path, image: VisionInput, compiled: bool, _: None) -> None:
    network = load_network(checkpoint, torch.float32, "cuda")
    plain, captured = TorchBackend(network, static_steps=False), TorchBackend(network, compiled=compiled)
    np.testing.assert_allclose(replies(captured, image), replies(plain, image), atol=1e-3)


def test_a_new_sequence_takes_over_the_memory_of_a_finished_one_but_none_of_its_tokens(checkpoint: Path) -> None:
    backend = TorchBackend(load_network(checkpoint), static_steps=True)
    ids, positions = list(range(50)), np.tile(np.arange(50), (3, 1))
    step = np.full((3, 1), 20)
    first = backend.start()
    first.extend(ids, positions)
    memory = first._slot
    del first
    second, third = backend.start(), backend.start()
    assert second._slot is memory
    assert third._slot is not memory
    for sequence in (second, third):
        sequence.extend(ids[20:40], positions[:, :20])
    np.testing.assert_array_equal(second.extend([9], step), third.extend([9], step))


@pytest.mark.parametrize("pads", [2, 40])
def test_a_wrong_number_of_pads_is_refused_as_by_the_graphs(checkpoint: Path, image: VisionInput, pads: int) -> None:
    backend = TorchBackend(load_network(checkpoint))
    ids = [backend.config.image_token_id] * pads
    with pytest.raises(
        BackendError, match=f"the chunk has {pads} image pads and the image 30 tokens: they must be equal"
    ):
        backend.start().extend(ids, np.zeros((3, pads), np.int64), backend.encode(image))
