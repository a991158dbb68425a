"""Too little memory is an error that says what needs less, on loading, on encoding and on a longer sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from n3d_core.backends import base, torch_backend
from n3d_core.backends.select import load_backend
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.errors import BackendError
from n3d_core.network.checkpoint import load_network
from n3d_core.network.preprocess import VisionInput

from .conftest import no_gpu, small_config, write_checkpoint


@no_gpu
def test_weights_that_do_not_fit_the_host_are_refused_before_they_are_read(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_network(checkpoint)
    size = 2 * sum(p.numel() for p in network.parameters())
    monkeypatch.setattr(base, "available_bytes", lambda: size - 1)
    with pytest.raises(
        BackendError, match=r"torch:bf16 needs 0\.0 GB for the weights of .* are free: onnx:int4 on a CPU"
    ):
        load_backend(checkpoint, "torch:bf16")
    monkeypatch.setattr(base, "available_bytes", lambda: size)
    assert load_backend(checkpoint, "torch:bf16").memory_bytes == size


@no_gpu
def test_weights_that_stay_in_their_file_need_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "available_bytes", lambda: 0)
    stored = write_checkpoint(tmp_path, small_config(), torch.bfloat16)
    assert load_backend(stored, "torch:bf16").config == small_config()
    with pytest.raises(BackendError, match="torch:fp32 needs"):
        load_backend(stored, "torch:fp32")


def test_what_is_available_is_memory_and_swap() -> None:
    found = base.available_bytes()
    assert found is None or 1 << 20 < found < 1 << 50


def test_a_cache_that_does_not_fit_is_an_error_of_the_backend(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchBackend(load_network(checkpoint))
    monkeypatch.setattr(torch_backend, "FIRST_CAPACITY", 1 << 44)
    with pytest.raises(BackendError, match=r"torch \(cpu\): not enough memory \(.*\): onnx:int4 on a CPU"):
        backend.start()
    monkeypatch.undo()
    assert backend.start().extend([1, 2], np.zeros((3, 2), np.int64)).shape == (1, 512)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_a_gpu_without_memory_is_an_error_of_the_backend_and_other_failures_stay_themselves(
    checkpoint: Path, image: VisionInput, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    backend = TorchBackend(load_network(checkpoint))
    sequence = backend.start()
    for part in (backend.network.visual, backend.network.model):

        def fail(*_: object, **__: object) -> None:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB")

        monkeypatch.setattr(part, "forward", fail)
    for work in (lambda: backend.encode(image), lambda: sequence.extend([1], np.zeros((3, 1), np.int64))):
        with pytest.raises(
            BackendError, match=r"not enough memory \(CUDA out of memory\. Tried to allocate 2\.00 GiB\)"
        ):
            work()
    assert sequence.length == 0

    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(backend.network.visual, "forward", break_down)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        backend.encode(image)
