"""The folder that ships: fp16 weights, and nothing that an earlier model left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from n3d_core.decoding.calibration import CALIBRATION
from n3d_core.errors import CheckpointError
from n3d_core.network.checkpoint import load_network
from training.learn.config import TrainConfig
from training.learn.parallel import Processes
from training.release import release
from training.scenes.vocabulary import VOCABULARY, Vocabulary
from training.train import Trainer

MakeConfig = Callable[..., TrainConfig]


def test_a_release_holds_what_belongs_to_the_model_and_nothing_else(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("steps=1")
    Vocabulary(("mug",), ("red",)).write(Path(config.init))
    Trainer(config, Processes(0, 1, torch.device("cpu"))).run()
    (Path(config.init) / VOCABULARY).unlink()
    source, target = Path(config.output) / "model", tmp_path / "shipped"
    target.mkdir()
    (target / "README.md").write_text("by hand")
    (target / CALIBRATION).write_text(json.dumps({"weights": [0, 0, 0, 0], "covariance_scale": 9.0}))
    figures = release(source, target)
    assert {p.name for p in target.iterdir()} == {
        "README.md", "config.json", "model.safetensors", "tokenizer.json", VOCABULARY,
    }  # fmt: skip
    assert Vocabulary.of_model(target) == Vocabulary(("mug",), ("red",))
    assert all(v.dtype == torch.float16 for v in load_file(target / "model.safetensors").values())
    whole, half = load_network(source).state_dict(), load_network(target).state_dict()
    worst = max(float((whole[k] - half[k].float()).abs().max()) for k in whole)
    assert figures["largest_rounding"] == pytest.approx(worst)
    assert worst < 1e-3
    with pytest.raises(CheckpointError, match="into another folder"):
        release(target, target)
