"""What the tests of the training share: a few small scenes, and a checkpoint folder to start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from n3d_core.network.config import N3DConfig
from training.learn.config import TrainConfig
from training.learn.parallel import Processes
from training.small.tokenizer import build_tokenizer, save_tokenizer
from training.tiny import tiny_config
from training.train import Trainer

_CORPUS = [
    "red mug, blue box: Identify the 3D boxes for all the in this scene. First locate the bbox of the object(s)."
] * 30
MakeConfig = Callable[..., TrainConfig]


def write_init(folder: Path, config: N3DConfig | None = None) -> Path:
    """A folder that a training begins from: the config of a very small model, and a tokenizer."""
    tokenizer = build_tokenizer(_CORPUS, 1500)
    save_tokenizer(tokenizer, folder)
    tiny = tiny_config(tokenizer.get_vocab_size())
    vision = replace(
        tiny.vision, depth=2, hidden_size=48, intermediate_size=96, num_heads=3, out_hidden_size=96, patch_size=8,
        window_size=32, fullatt_block_indexes=(1,),
    )  # fmt: skip
    text = replace(
        tiny.text, hidden_size=96, intermediate_size=192, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1,
    )  # fmt: skip
    data = (config or replace(tiny, vision=vision, text=text, image_longest_side=64)).to_json()
    for key, token in (
        ("image_token_id", "<|image_pad|>"),
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
        ("eos_token_id", "<|im_end|>"),
    ):
        data[key] = tokenizer.token_to_id(token)
    (folder / "config.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="session")
def small_init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder without weights."""
    return write_init(tmp_path_factory.mktemp("init"))


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight scenes of one to three objects at 64x48."""
    pytest.importorskip("mujoco", reason="scenes are rendered by MuJoCo")
    from n3d_core.errors import MissingDependencyError
    from training.scenes.cache import write_cache
    from training.scenes.scene_config import SceneConfig

    folder = tmp_path_factory.mktemp("cache")
    config = SceneConfig(width=64, height=48, objects=(1, 3))
    try:
        write_cache(folder, range(8), 1, config, 1, lambda _: None)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return folder


@pytest.fixture
def config_maker(tmp_path: Path) -> Callable[[str, str], MakeConfig]:
    """From the head and the data of a config: what makes configs of short trainings; overrides are `a.b=value`."""

    def maker(head: str, data: str) -> MakeConfig:
        def make(*overrides: str) -> TrainConfig:
            path = tmp_path / "config.yaml"
            path.write_text(
                f"{head}\noutput: {tmp_path / 'out'}\nbatch: 2\nthreads: 1\nlog_every: 1\ndata: {data}\n"
                "optim: {warmup_steps: 2}\n"
            )
            return TrainConfig.from_yaml(path, list(overrides))

        return make

    return maker


@pytest.fixture
def make_config(small_init: Path, small_cache: Path, config_maker: Callable[[str, str], MakeConfig]) -> MakeConfig:
    """Makes configs for the small model."""
    return config_maker(f"init: {small_init}\nsteps: 6", f"{{cache: {small_cache}, tokens: 160, workers: 0}}")


@pytest.fixture
def train_until_saved() -> Callable[[TrainConfig], None]:
    """Trains until the first state is saved, and is stopped there as Ctrl-C stops it."""

    def train(config: TrainConfig) -> None:
        trainer = Trainer(config, Processes(0, 1, torch.device("cpu")))
        save = trainer.save

        def save_and_die() -> None:
            save()
            raise KeyboardInterrupt

        trainer.save = save_and_die  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            trainer.run()

    return train
