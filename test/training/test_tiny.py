"""What a training of n3d-tiny starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import PlanTensors
from n3d_core.network.preprocess import vision_input
from test.core.checkpoints import write_checkpoint
from training.tiny import tiny_config, write_fresh, write_warm


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    write_fresh(folder)
    return folder


def test_a_fresh_start_is_what_the_config_says(fresh: Path) -> None:
    config = N3DConfig.from_file(fresh / "config.json")
    tiny = tiny_config(config.text.vocab_size)
    assert (config.points, config.pe_order, config.image_longest_side) == ("valid", "aligned", 384)
    assert (config.vision, config.text, config.ratios) == (tiny.vision, tiny.text, tiny.ratios)
    assert (16, 9) in config.ratios
    assert {p.name for p in fresh.iterdir()} == {
        "config.json", "generation_config.json", "tokenizer.json", "vocabulary.json",
    }  # fmt: skip


def test_a_warm_start_does_not_yet_see_places(fresh: Path, tmp_path: Path) -> None:
    old = replace(N3DConfig.from_file(fresh / "config.json"), points="mean", image_longest_side=256, ratios=())
    from n3d_core.network.model import N3DNetwork

    torch.manual_seed(0)
    write_checkpoint(tmp_path / "old", old.to_json(), N3DNetwork(old).state_dict())
    for name in ("tokenizer.json", "generation_config.json", "vocabulary.json"):
        (tmp_path / "old" / name).write_bytes((fresh / name).read_bytes())
    write_warm(tmp_path / "old", tmp_path / "new")
    network = load_network(tmp_path / "new")
    assert network.config == N3DConfig.from_file(fresh / "config.json")
    color = np.random.default_rng(0).integers(0, 255, (288, 384, 3), dtype=np.uint8)
    cloud = np.random.default_rng(1).random((288, 384, 3), dtype=np.float32)
    image = vision_input(color, cloud, np.ones((288, 384), bool), network.config)
    plan = PlanTensors(image.plan)
    patches, points = torch.from_numpy(image.patches)[None], torch.from_numpy(image.coordinates)[None]
    features = network.visual.features(patches, plan) + plan.encoding(points, old.vision.hidden_size)
    grouped = features.reshape(1, -1, 4 * old.vision.hidden_size)
    places = plan.place_channels
    assert places is not None
    hidden = network.visual.merger.mlp[0](grouped)
    torch.testing.assert_close(
        network.visual.merger.mlp[0]((features * ~places).reshape(grouped.shape)), hidden, rtol=1e-4, atol=1e-5
    )
