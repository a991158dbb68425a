"""Which backend `auto` takes, what it says, and what a named one that cannot run says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from n3d_core.backends.onnx_backend import OnnxBackend
from n3d_core.backends.select import load_backend
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.errors import BackendError, CheckpointError, ConfigError, MissingDependencyError

from .conftest import no_gpu


@no_gpu
def test_auto_takes_onnx_runtime_on_a_cpu_and_says_why(checkpoint: Path) -> None:
    backend = load_backend(checkpoint)
    assert isinstance(backend, OnnxBackend)
    assert backend.name == "onnx (cpu, fp32)"
    assert backend.reason == "auto: fastest on a CPU"


@no_gpu
@pytest.mark.parametrize("missing", ["onnxruntime", "onnx"])
def test_auto_falls_back_to_torch_and_says_what_is_missing(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    backend = load_backend(checkpoint)
    assert isinstance(backend, TorchBackend)
    assert backend.reason.startswith("auto: runs everywhere; onnx cannot run here (")
    assert "pip install" in backend.reason


def test_a_precision_may_be_named(checkpoint: Path) -> None:
    assert load_backend(checkpoint, "onnx:int4").name == "onnx (cpu, int4)"
    assert load_backend(checkpoint, "torch:fp32").reason == "asked for"


@no_gpu
def test_tensorrt_without_a_gpu_is_refused(checkpoint: Path) -> None:
    with pytest.raises((BackendError, MissingDependencyError), match=r"needs an NVIDIA GPU|TensorRT is not installed"):
        load_backend(checkpoint, "tensorrt")


def test_a_named_backend_that_is_missing_says_how_to_install_it(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'n3d-ros\[onnxruntime\]'"):
        load_backend(checkpoint, "onnx")


@pytest.mark.parametrize(
    ("backend", "error", "words"),
    [
        ("cuda", ConfigError, "backend must be auto or one of torch, onnx, tensorrt, .* got 'cuda'"),
        ("auto:int4", ConfigError, "backend must be .* got 'auto:int4'"),
        ("onnx:fp8", ConfigError, "precision must be one of .* got 'fp8'"),
        ("onnx:bf16", BackendError, "does not support bf16 on a CPU"),
        ("torch:int4", BackendError, "use onnx:int4"),
        pytest.param(
            "torch:fp32+compile",
            BackendError,
            r"torch:fp32\+compile needs a GPU, but no CUDA GPU is in use: use torch:fp32",
            marks=no_gpu,
        ),
        ("torch:fp32+fast", BackendError, r"supports fp32, fp16, bf16, not fp32\+fast"),
    ],
)
def test_names_that_are_wrong(checkpoint: Path, backend: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_backend(checkpoint, backend)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.compile fuses steps on an NVIDIA GPU")
@pytest.mark.parametrize(("name", "compiled"), [("torch:bf16+compile", True), ("torch:bf16", False)])
def test_torch_compile_is_asked_for_by_name(checkpoint: Path, name: str, compiled: bool) -> None:
    backend = load_backend(checkpoint, name)
    assert isinstance(backend, TorchBackend)
    assert (backend.compiled, backend.dtype) == (compiled, torch.bfloat16)


def test_threads_reach_onnx_runtime(checkpoint: Path) -> None:
    for threads, expected in ((0, 1), (2, 2)):  # of a small decoder, one unless told
        backend = load_backend(checkpoint, "onnx", threads)
        assert isinstance(backend, OnnxBackend)
        assert backend.decoder.get_session_options().intra_op_num_threads == expected


def test_a_broken_checkpoint_is_not_hidden_by_a_fallback(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"model\.safetensors missing"):
        load_backend(tmp_path)


@pytest.mark.parametrize(
    ("backend", "device", "error", "words"),
    [
        ("torch", "gpu", ConfigError, "device must be cpu, cuda or cuda:N; got 'gpu'"),
        ("torch", "cuda:-1", ConfigError, "device must be cpu"),
        ("onnx", "cuda:99", BackendError, "device cuda:99 not found: .* visible to torch"),
        ("auto", "cuda:99", BackendError, "device cuda:99 not found: .* visible to torch"),
    ],
)
def test_a_device_that_is_not_there_is_named(
    checkpoint: Path, backend: str, device: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        load_backend(checkpoint, backend, device=device)


def test_the_cpu_may_be_asked_for(checkpoint: Path) -> None:
    backend = load_backend(checkpoint, "torch", device="cpu")
    assert isinstance(backend, TorchBackend)
    assert (backend.device.type, backend.name) == ("cpu", "torch (cpu)")
    assert load_backend(checkpoint, "auto", device="cpu").name == "onnx (cpu, fp32)"


def test_a_second_gpu_is_reached_through_every_door(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from n3d_core.backends.base import gpu

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = [str(gpu(device)) for device in ("", "cuda", "cuda:1", "cpu")]
    assert found == ["cuda:0", "cuda:0", "cuda:1", "None"]
    with pytest.raises(BackendError, match="device cuda:2 not found: cuda:0 to cuda:1 is visible"):
        gpu("cuda:2")
