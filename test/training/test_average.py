"""The average of two states of one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from n3d_core.decoding.calibration import CALIBRATION
from n3d_core.errors import CheckpointError
from n3d_core.network.checkpoint import load_network
from test.core.checkpoints import write_checkpoint
from training.average import average
from training.learn.config import TrainConfig
from training.learn.parallel import Processes
from training.train import Trainer

MakeConfig = Callable[..., TrainConfig]


def test_each_weight_lies_between_those_of_the_two(make_config: MakeConfig, tmp_path: Path) -> None:
    folders = []
    for steps in (1, 3):
        config = make_config(f"steps={steps}", f"output={tmp_path / str(steps)}")
        Trainer(config, Processes(0, 1, torch.device("cpu"))).run()
        folders.append(Path(config.output) / "model")
    average(*folders, tmp_path / "average", 0.25)
    before, after, found = (load_network(f).state_dict() for f in (*folders, tmp_path / "average"))
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(before[name], after[name])
    torch.testing.assert_close(found[name], 0.75 * before[name] + 0.25 * after[name])
    assert (tmp_path / "average" / "tokenizer.json").read_bytes() == (folders[0] / "tokenizer.json").read_bytes()

    (tmp_path / "average" / CALIBRATION).write_text("{}")
    average(*folders, tmp_path / "average", 0.5)
    assert not (tmp_path / "average" / CALIBRATION).exists()  # it was fitted to other weights

    with pytest.raises(CheckpointError, match=r"--share must be from 0 .* to 1 .*; got 1.5"):
        average(*folders, tmp_path / "other", 1.5)
    with pytest.raises(CheckpointError, match="into another folder"):
        average(*folders, folders[1], 0.5)
    network = load_network(folders[1])
    wide = replace(network.config, image_longest_side=512).to_json()
    write_checkpoint(tmp_path / "wide", wide, network.state_dict())
    with pytest.raises(CheckpointError, match=r"their config.json differ"):
        average(folders[0], tmp_path / "wide", tmp_path / "other", 0.5)
