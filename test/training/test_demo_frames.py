"""The demo's frames come from seeds that no training may use. Needs no OpenGL: true boxes are closed form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from n3d_core.geometry.frame_folder import FrameFolder
from training.scenes import DEMO_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS, SceneConfig
from training.scenes.layout import sample_layout
from training.scenes.scene import _LAYOUT, _VIEW, _true_box
from training.scenes.viewpoint import sample_viewpoint
from training.scenes.vocabulary import Vocabulary

DEMO = Path(__file__).parents[2] / "demo"
ABOUT = json.loads((DEMO / "seeds.json").read_text())


def test_the_seeds_of_the_demo_are_held_out() -> None:
    assert len(ABOUT["seeds"]) == len(FrameFolder(DEMO / "frames"))
    for seed in ABOUT["seeds"]:
        assert seed in DEMO_SEEDS
        assert seed not in TRAIN_SEEDS
        assert seed not in VALIDATION_SEEDS


@pytest.mark.parametrize("index", range(len(ABOUT["seeds"])))
def test_each_frame_shows_the_scene_of_its_seed(index: int) -> None:
    seed = ABOUT["seeds"][index]
    taught = Vocabulary.of_model(DEMO.parent / "models" / "n3d-tiny")
    config = replace(SceneConfig.standard(*ABOUT["size"]), fov=(ABOUT["fov"], ABOUT["fov"])).made_of(taught)
    layout = sample_layout(np.random.default_rng((seed, _LAYOUT)), config)
    view = sample_viewpoint(np.random.default_rng((seed, _VIEW, 0)), config, layout)
    made = [_true_box(o, view) for o in layout.objects]
    truth = FrameFolder(DEMO / "frames").truth(index)
    assert truth is not None
    assert truth.objects
    for item in truth.objects:
        named = [b for b in made if b.label == item.box.label]
        assert any(np.allclose([*item.box.center, *item.box.size], [*b.center, *b.size], atol=1e-4) for b in named)
