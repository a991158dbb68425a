"""Checkpoint folders with random weights, small and of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from n3d_core.network.plan import image_plan
from n3d_core.network.preprocess import VisionInput
from test.core import checkpoints

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "n3d"


def small_config(**text: object) -> N3DConfig:
    """The small network of `test.core`, as wide as integer weights and engines want it, with an odd point encoding."""
    width = {"hidden_size": 128, "intermediate_size": 192}
    base = checkpoints.small_config(tied=True)
    vision = replace(base.vision, **width, out_hidden_size=128, patch_size=8, window_size=32)
    decoder = {"vocab_size": 512, "mrope_section": (4, 6, 6), "max_position_embeddings": 2048}
    return replace(
        base,
        vision=vision,
        text=replace(base.text, **(width | decoder | text)),
        image_token_id=500,
        vision_start_token_id=501,
        vision_end_token_id=502,
        eos_token_id=503,
        pe_order="aligned",
        image_longest_side=96,
    )


def random_network(config: N3DConfig, seed: int = 0) -> N3DNetwork:
    """Weights of a trained network's size, so that attention is neither flat nor saturated."""
    torch.manual_seed(seed)
    network = N3DNetwork(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        spread = torch.randn_like(parameter)
        parameter.copy_(spread * 0.06 if parameter.dim() > 1 else 1 + spread * 0.1)
    return network


def write_checkpoint(folder: Path, config: N3DConfig, dtype: torch.dtype = torch.float32) -> Path:
    network = random_network(config)
    checkpoints.write_checkpoint(
        folder, config.to_json(), {name: p.to(dtype) for name, p in network.named_parameters()}
    )
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a model whose head is its own (a tied random one would repeat its input)."""
    return write_checkpoint(tmp_path_factory.mktemp("untied"), small_config(tie_word_embeddings=False))


@pytest.fixture(scope="session")
def image() -> VisionInput:
    """10 x 12 patches: the last row of windows is not full."""
    config, rng = small_config(), np.random.default_rng(0)
    plan = image_plan(config, 10, 12)
    patches = rng.standard_normal((plan.patches, config.vision.patch_values), dtype=np.float32)
    coordinates = np.round(rng.standard_normal((plan.patches, 3)) * 900).astype(np.float32)
    return VisionInput(patches, coordinates, plan)
