"""The torch backend: its step of fixed shapes, its buckets, and a GPU's graphs where there is one."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from n3d_core.backends.base import capture_graph, use_device
from n3d_core.backends.torch_backend import FIRST_CAPACITY, StaticStep, TorchBackend
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
        BackendError, match=f"the chunk must have 30 image pads, as many as the image has tokens; got {pads}"
    ):
        backend.start().extend(ids, np.zeros((3, pads), np.int64), backend.encode(image))


class Graphless:
    """torch.cuda on a machine without a GPU, where capturing a graph fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.modes: list[str] = []
        stream = SimpleNamespace(wait_stream=lambda other: None)
        monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
        monkeypatch.setattr(torch.cuda, "stream", lambda of: nullcontext())
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=self.replay))
        monkeypatch.setattr(torch.cuda, "graph", self.graph)

    def graph(self, graph: object, capture_error_mode: str) -> object:
        self.modes.append(capture_error_mode)
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    def replay(self) -> None:
        raise AssertionError("nothing was captured")


def test_a_capture_that_fails_leaves_the_sequence_whole_and_steps_go_on_without_it(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = load_network(checkpoint)
    ids, positions = list(range(20)), np.tile(np.arange(20), (3, 1))
    plain = TorchBackend(network, static_steps=False).start()
    plain.extend(ids, positions)
    expected = [plain.extend([7 + n], np.full((3, 1), 20 + n)) for n in range(3)]
    cuda = Graphless(monkeypatch)
    backend = TorchBackend(network, static_steps=True)
    sequence = backend.start()
    sequence.extend(ids, positions)
    kept = sequence._slot.cache.keys[..., :20, :].clone(), sequence._slot.cache.values[..., :20, :].clone()
    sequence._slot.step = StaticStep(network, sequence._slot.cache, capture=True)
    found = [sequence.extend([7 + n], np.full((3, 1), 20 + n)) for n in range(3)]
    assert torch.equal(sequence._slot.cache.keys[..., :20, :], kept[0])
    assert torch.equal(sequence._slot.cache.values[..., :20, :], kept[1])
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=2e-5)
    assert cuda.modes == ["thread_local"]  # tried once, and in a way that other threads do not break
    assert [record.getMessage() for record in caplog.records] == [
        "cannot capture a CUDA graph, single steps will be slower: operation not permitted when stream is capturing"
    ]


def test_a_capture_that_cannot_end_gives_the_stream_back(monkeypatch: pytest.MonkeyPatch) -> None:
    current = ["main"]

    @contextmanager
    def stream(of: str) -> Iterator[None]:
        before, current[0] = current[0], of
        try:
            yield
        finally:
            current[0] = before

    class Graph:  # as torch's: if `capture_end` fails, it does not leave its stream
        def __init__(self, graph: object, capture_error_mode: str) -> None:
            pass

        def __enter__(self) -> None:
            current[0] = "capture"

        def __exit__(self, *_: object) -> None:
            raise RuntimeError("stream capture was invalidated")

    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "graph", Graph)
    assert capture_graph(lambda: None) is None
    assert current == ["main"]


def test_memory_that_runs_out_in_a_capture_is_an_error_and_leaves_the_sequence_whole(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_network(checkpoint)
    cuda = Graphless(monkeypatch)

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "graph", full)
    sequence = TorchBackend(network, static_steps=True).start()
    sequence.extend(list(range(20)), np.tile(np.arange(20), (3, 1)))
    kept = sequence._slot.cache.keys[..., :20, :].clone()
    sequence._slot.step = StaticStep(network, sequence._slot.cache, capture=True)
    with pytest.raises(BackendError, match="not enough memory"):
        sequence.extend([7], np.full((3, 1), 20))
    assert sequence.length == 20
    assert torch.equal(sequence._slot.cache.keys[..., :20, :], kept)
    assert cuda.modes == []


def test_what_a_step_and_a_grown_cache_held_is_free_at_once(checkpoint: Path) -> None:
    backend = TorchBackend(load_network(checkpoint), static_steps=True)
    sequence = backend.start()
    sequence.extend([1], np.zeros((3, 1), np.int64))
    slot = sequence._slot
    assert slot.step is not None
    step, cache, keys = weakref.ref(slot.step), weakref.ref(slot.cache), weakref.ref(slot.cache.keys)
    gc.collect()
    gc.disable()
    try:
        length = FIRST_CAPACITY + 1
        sequence.extend([1] * length, np.zeros((3, length), np.int64))
        assert (step(), cache(), keys()) == (None, None, None)
        weights = weakref.ref(backend.network)
        del sequence, slot, backend
        assert weights() is None
    finally:
        gc.enable()


def test_threads_share_a_device_one_at_a_time_and_may_nest() -> None:
    device, order = torch.device("cpu"), []

    def other() -> None:
        with use_device(device):
            order.append("other")

    with use_device(device), use_device(device):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(5)
    assert order == ["first", "other"]
