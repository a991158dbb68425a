"""Without the point encoding we are transformers' Qwen2.5-VL: the same names, shapes, positions and logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from n3d_core.network.plan import image_plan
from test.core.checkpoints import hub_config, in_newer_spelling, small_config
from test.parity.forward import prompt_positions

transformers = pytest.importorskip("transformers", reason="the oracle: pip install 'n3d-ros[oracle]'")


def oracle_config(data: dict[str, Any]) -> Any:
    return transformers.Qwen2_5_VLConfig.from_dict(data)


def oracle(data: dict[str, Any]) -> Any:
    return transformers.Qwen2_5_VLForConditionalGeneration._from_config(
        oracle_config(data), attn_implementation="eager", torch_dtype=torch.float32
    )


@pytest.mark.parametrize("size", ["3B", "7B"])
def test_every_name_and_shape_of_the_released_sizes_is_transformers_own(size: str) -> None:
    with torch.device("meta"):
        ours = {n: p.shape for n, p in N3DNetwork(N3DConfig.from_json(hub_config(size))).named_parameters()}
        theirs = {n: p.shape for n, p in oracle(hub_config(size)).named_parameters()}
    assert in_newer_spelling(ours) == theirs


@pytest.mark.parametrize("size", ["3B", "7B"])
def test_flat_and_nested_configurations_say_the_same(size: str, tmp_path: Path) -> None:
    oracle_config(hub_config(size)).save_pretrained(tmp_path)
    nested = N3DConfig.from_file(tmp_path / "config.json")
    assert nested == N3DConfig.from_json(hub_config(size))


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, TorchBackend]:
    """A random model of transformers, and ours loaded from the shards it saves."""
    config = small_config(tied=request.param)
    torch.manual_seed(0)
    theirs = oracle(config.to_json()).eval()
    for name, parameter in theirs.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            torch.nn.init.normal_(parameter, mean=float("norm" in name or "ln_q" in name), std=0.1)
    folder = tmp_path_factory.mktemp("saved")
    theirs.save_pretrained(folder, max_shard_size="200KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return theirs, TorchBackend(load_network(folder))


@pytest.mark.parametrize(("grid_h", "grid_w"), [(6, 10), (16, 10), (18, 22)])
def test_logits_equal_those_of_transformers(pair: tuple[Any, TorchBackend], grid_h: int, grid_w: int) -> None:
    theirs, ours = pair
    config = ours.config
    plan = image_plan(config, grid_h, grid_w)
    generator = np.random.default_rng(grid_h)
    patches = generator.standard_normal((plan.patches, config.vision.patch_values)).astype(np.float32)
    words = generator.integers(0, 290, 40).tolist()
    ids = [*words[:10], 292, *[config.image_token_id] * plan.tokens, 293, *words[10:]]
    mask = torch.tensor([[int(i == config.image_token_id) for i in ids]])
    with torch.inference_mode():
        expected = theirs(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            mm_token_type_ids=mask,
            pixel_values=torch.from_numpy(patches),
            image_grid_thw=torch.tensor([[1, grid_h, grid_w]]),
        ).logits[0]
        image = ours.network.visual(torch.from_numpy(patches)[None], None, ours._plan(plan))[0]
    positions = prompt_positions(ids, plan, config.image_token_id)
    logits = ours.start().extend(ids, positions, image=image, rows=len(ids))
    assert expected.std() > 0.5
    assert np.abs(logits - expected.numpy()).max() <= 1e-4
