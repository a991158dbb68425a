"""The demo's frames come from seeds that no training may use, and from a command that makes them again."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from n3d_core.errors import ConfigError, MissingDependencyError
from n3d_core.geometry.frame_folder import FrameFolder
from training.scenes import DEMO_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS, SceneConfig
from training.scenes.layout import sample_layout
from training.scenes.scene import _LAYOUT, _VIEW, _true_box
from training.scenes.viewpoint import sample_viewpoint
from training.scenes.vocabulary import Vocabulary

DEMO = Path(__file__).parents[2] / "demo"
ABOUT = json.loads((DEMO / "seeds.json").read_text())


@pytest.fixture(scope="module")
def make_frames() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_frames", DEMO / "make_frames.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_seeds_of_the_demo_are_held_out() -> None:
    assert len(ABOUT["seeds"]) == len(FrameFolder(DEMO / "frames"))
    for seed in ABOUT["seeds"]:
        assert seed in DEMO_SEEDS
        assert seed not in TRAIN_SEEDS
        assert seed not in VALIDATION_SEEDS


# needs no OpenGL: true boxes are closed form
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


def test_the_command_makes_a_shipped_frame_again(make_frames: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="scenes are rendered by MuJoCo")
    seed = ABOUT["seeds"][-1]
    taught = Vocabulary.of_model(DEMO.parent / "models" / "n3d-tiny")
    config = replace(SceneConfig.standard(*ABOUT["size"]), fov=(ABOUT["fov"], ABOUT["fov"])).made_of(taught)
    try:
        make_frames.write_frames(tmp_path / "frames", [seed], config, taught)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    made, shipped = FrameFolder(tmp_path / "frames"), FrameFolder(DEMO / "frames")
    assert made.camera == shipped.camera
    one, other = made.truth(0), shipped.truth(len(shipped) - 1)
    assert one is not None
    assert other is not None
    assert [o.box for o in one.objects] == [o.box for o in other.objects]
    assert one.groundings == other.groundings
    frames = made.frame(0), shipped.frame(len(shipped) - 1)
    assert np.mean(frames[0].color != frames[1].color) < 0.05  # another OpenGL may draw other edges


def test_frames_of_other_seeds_or_in_place_of_something_else_are_refused(
    make_frames: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert make_frames.main(["--output", str(tmp_path)]) == 2
    assert "exists and is no frame folder; it is left alone" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert make_frames.main(["--seeds", "5", "--output", str(tmp_path / "frames")]) == 2
    assert "seeds 5:6 are not for the demo" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="not for the demo"):
        make_frames.write_frames(tmp_path / "frames", [1_000_000], SceneConfig(), Vocabulary())
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
