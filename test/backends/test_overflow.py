"""What passes fp16's 65,504: right where the network has fp32 islands, elsewhere an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from n3d_core.backends.base import Backend
from n3d_core.backends.export.graph import GraphStore
from n3d_core.backends.export.precision import Precision
from n3d_core.backends.onnx_backend import OnnxBackend
from n3d_core.backends.tensorrt.run import TensorRTBackend
from n3d_core.backends.tensorrt.supply import EngineStore
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.errors import BackendError
from n3d_core.network.checkpoint import load_network
from n3d_core.network.preprocess import VisionInput
from test.core.checkpoints import write_checkpoint

from .conftest import random_network, small_config
from .stand_in_tensorrt import StandIn
from .test_onnx_backend import replies

LAST_MLP = "visual.blocks.{last}.mlp.{part}_proj.{kind}"


def scaled(folder: Path, **factors: float) -> Path:
    """A checkpoint whose parameters are random, some of them larger; `__` stands for the dots of their names."""
    network = random_network(small_config(tie_word_embeddings=False))
    parameters = dict(network.named_parameters())
    for name, factor in factors.items():
        parameters[name.replace("__", ".")].mul_(factor)
    write_checkpoint(folder, network.config.to_json(), parameters)
    return folder


def large_last_products(folder: Path) -> Path:
    """The products of the tower's last MLP reach millions, its output is as ever: so it is in the released weights."""
    last = small_config().vision.depth - 1
    factors = {LAST_MLP.format(last=last, part=p, kind=k): 200.0 for p in ("gate", "up") for k in ("weight", "bias")}
    factors[LAST_MLP.format(last=last, part="down", kind="weight")] = 1 / 200
    return scaled(folder, **factors)


def large_residual(folder: Path) -> Path:
    """Every summand of the tower's residual stream fits fp16, their sum does not."""
    return scaled(folder, visual__patch_embed__proj__weight=1e4, visual__blocks__0__attn__proj__weight=2e4)


def on_torch(folder: Path, precision: str) -> Backend:
    return TorchBackend(load_network(folder, {"fp16": torch.float16, "fp32": torch.float32}[precision]))


def on_torch_in_fixed_steps(folder: Path, precision: str) -> Backend:
    return TorchBackend(
        load_network(folder, {"fp16": torch.float16, "fp32": torch.float32}[precision]), static_steps=True
    )


def on_onnx(folder: Path, precision: str) -> Backend:
    return OnnxBackend(GraphStore(folder, Precision.named(precision)), threads=1)


def on_tensorrt(folder: Path, precision: str) -> Backend:
    trt = StandIn("tensorrt", "10.16.1")
    from n3d_core.backends.tensorrt.api import TensorRT

    return TensorRTBackend(
        EngineStore(folder, TensorRT(trt, "tensorrt"), "sm_89", Precision.named(precision)), device="cpu"
    )


Loader = Callable[[Path, str], Backend]
BACKENDS = [on_torch, on_torch_in_fixed_steps, on_onnx, on_tensorrt]


@pytest.mark.parametrize("load", [on_torch, on_onnx])
@pytest.mark.parametrize("large", [large_last_products, large_residual])
def test_fp16_is_right_where_the_network_is_known_to_pass_it(
    tmp_path: Path, image: VisionInput, load: Loader, large: Callable[[Path], Path]
) -> None:
    folder = large(tmp_path)
    expected = replies(on_torch(folder, "fp32"), image)
    found = replies(load(folder, "fp16"), image)
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


def test_the_islands_hold_what_they_are_for(tmp_path: Path, image: VisionInput) -> None:
    """The sizes of the two networks above: beyond fp16 where it is said, and within it at the tower's end."""
    seen: dict[str, float] = {}

    def watch(network: torch.nn.Module, name: str) -> None:
        def keep(_: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            seen[name] = float(inputs[0].abs().max())

        network.get_submodule(name).register_forward_hook(keep)

    last = small_config().vision.depth - 1
    for large, name in (
        (large_last_products, f"visual.blocks.{last}.mlp.down_proj"),
        (large_residual, "visual.blocks.1"),
    ):
        backend = on_torch(large(tmp_path / name), "fp32")
        watch(backend.network, name)
        watch(backend.network, "visual.merger.mlp.2")
        backend.encode(image)
        assert seen[name] > 65504
        assert seen["visual.merger.mlp.2"] < 1000


@pytest.mark.parametrize("load", [on_torch, on_onnx])
def test_fp16_that_overflows_elsewhere_is_refused_with_what_to_do(
    tmp_path: Path, image: VisionInput, load: Loader
) -> None:
    folder = scaled(tmp_path, visual__merger__mlp__2__weight=1e5)
    assert np.isfinite(replies(on_torch(folder, "fp32"), image)).all()
    with pytest.raises(BackendError, match=r"overflows fp16 \(values above 65,504\).*: use fp32, or bf16 on a GPU"):
        replies(load(folder, "fp16"), image)


@pytest.mark.parametrize("load", BACKENDS)
@pytest.mark.parametrize("length", [1, 3])
def test_what_is_not_finite_leaves_no_trace_in_the_cache(tmp_path: Path, load: Loader, length: int) -> None:
    """A token whose embedding is infinite spoils its own chunk: neither later ones nor another sequence's."""
    network = random_network(small_config(tie_word_embeddings=False))
    network.model.embed_tokens.weight[77] = torch.inf
    write_checkpoint(tmp_path, network.config.to_json(), dict(network.named_parameters()))
    backend = load(tmp_path, "fp16")
    ids, positions, after = list(range(1, 11)), np.tile(np.arange(10), (3, 1)), np.full((3, 1), 10)
    clean = backend.start()
    clean.extend(ids, positions)
    expected = clean.extend([5], after)
    sequence = backend.start()
    sequence.extend(ids, positions)
    with pytest.raises(BackendError, match="fp16"):
        sequence.extend([77] * length, np.tile(10 + np.arange(length), (3, 1)))
    assert sequence.length == 10
    np.testing.assert_array_equal(sequence.extend([5], after), expected)
    del sequence
    again = backend.start()
    again.extend(ids, positions)
    np.testing.assert_array_equal(again.extend([5], after), expected)


def test_fp32_that_is_not_finite_points_at_the_weights(tmp_path: Path) -> None:
    folder = scaled(tmp_path, model__norm__weight=float("nan"))
    with pytest.raises(
        BackendError, match=r"not finite in float32: the weights or the image's points contain infinities"
    ):
        on_torch(folder, "fp32").start().extend([1, 2], np.zeros((3, 2), np.int64))
