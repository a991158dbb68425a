"""Packing: many questions in one sequence give the logits that each gives alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from n3d_core.depth import clean_depth
from n3d_core.geometry.points import normalise, to_model_frame
from n3d_core.network.preprocess import vision_input
from training.data.lengths import QuestionLengths, measure
from training.data.packing import IGNORE, Segment, pack
from training.data.sequences import Question, from_cache
from training.data.stream import SceneSamples
from training.learn.attention import packed_mask
from training.learn.config import TrainConfig
from training.learn.model import TrainingModel, collate
from training.learn.parallel import Processes
from training.scenes.cache import write_cache
from training.scenes.scene_config import SceneConfig
from training.train import Trainer

MakeConfig = Callable[..., TrainConfig]
CPU = Processes(0, 1, torch.device("cpu"))


def test_a_segment_sees_the_prefix_and_itself_alone() -> None:
    first = Segment([5, 6], [7], [1.0], [IGNORE], [None, (0,), None])
    second = Segment([8], [9, 10], [1.0, 1.0], [IGNORE] * 2, [(), (1,), None])
    packed = pack([1, 2, 3], np.arange(9).reshape(3, 3), 4, [first, second])
    assert packed.segment.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert packed.positions[0].tolist() == [0, 1, 2, 4, 5, 6, 4, 5, 6]
    assert packed.targets.tolist() == [-1, -1, -1, -1, 7, -1, 9, 10, -1]
    assert packed.pointers == [None, None, None, None, (0,), None, (), (1,), None]
    mask = packed_mask(torch.from_numpy(np.append(packed.segment, [IGNORE, IGNORE]))[None])[0, 0]
    assert mask[7].tolist() == [True, True, True, False, False, False, True, True, False, False, False]
    assert mask[9].tolist() == [False] * 9 + [True, False]
    assert mask[10].tolist() == [False] * 10 + [True]


def test_questions_that_find_no_room_are_counted_and_named(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that is too short for thoughts says so before the training begins, by name and with the length it needs."""
    config = make_config("data.mixture={label: 1.0, reason: 3.0}", "data.tokens=260", "steps=1", "data.questions=6")
    Trainer(config, CPU).run()
    said = capsys.readouterr().err
    shown = re.search(r"rows of 260 tokens hold (\S+) of (\S+) questions drawn for an image", said)
    assert shown
    assert 0 < float(shown[1]) < float(shown[2]) <= 6
    assert re.search(r"left out: reason \d+%", said)
    warned = re.search(r"warning: data.tokens: 260 leaves no room for (.*); rows of (\d+) hold 90% of each", said)
    assert warned
    assert "100% of reason about" in warned[1]
    assert "label" not in warned[1]
    enough = replace(config, data=replace(config.data, tokens=int(warned[2])), output=f"{config.output}-enough")
    assert not any("leaves no room" in line for line in measure(Trainer(enough, CPU).samples).warnings())


def test_lengths_are_those_of_the_packed_rows(make_config: MakeConfig) -> None:
    config = make_config("data.mixture={label: 1.0, reason: 1.0, drill: 1.0}", "data.tokens=700", "data.questions=8")
    samples: SceneSamples = Trainer(config, CPU).samples
    for number in range(4):
        image, questions = samples.drawn(number)
        taken, lengths = samples.maker.lengths(image, questions)
        packed = samples[number].packed
        found = np.bincount(packed.segment).tolist()
        assert found == [taken, *(lengths[i] for i in samples.maker.fitting(taken, lengths))]
        assert len(packed.ids) <= 700


def test_kinds_that_are_crowded_out_are_named() -> None:
    lengths = QuestionLengths(row=100)
    for _ in range(20):
        questions = [Question("a", kind="label"), Question("b", kind="label"), Question("c", kind="drill about count")]
        lengths.add(20, questions, [30, 30, 40], {0, 1})
    (warning,) = lengths.warnings()
    assert "100% of drill about count" in warning
    assert "label" not in warning
    assert "33% of all questions" in warning
    assert lengths.summary() == (
        "rows of 100 tokens hold 2.0 of 3.0 questions drawn for an image, whose own tokens are up to 20; "
        "left out: drill 100%"
    )


def _hidden(trainer: Trainer, questions: list[Question]) -> tuple[torch.Tensor, np.ndarray]:
    """Hidden states [predicted, width] at the positions that predict something, and what they should predict."""
    samples: SceneSamples = trainer.samples
    sample = samples.maker.make(from_cache(samples.cache[0]), questions, 2.0)
    batch = collate([sample], trainer.model_config, 0)
    model: TrainingModel = trainer.model
    caught: list[torch.Tensor] = []
    watch = model.network.model.norm.register_forward_hook(lambda _, __, out: caught.append(out))
    model(batch)
    watch.remove()
    return caught[0][batch.targets >= 0].detach(), sample.packed.targets[sample.packed.targets >= 0]


def test_a_packed_sequence_gives_the_logits_of_its_questions_asked_one_by_one(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config("loss.dense=0.0", "data.tokens=600"), CPU)
    asked = [
        Question("Detect boxes.", ((0, "red mug"),)),
        Question("Identify the 3D boxes for all the 'box' in this scene."),
        Question("How far is it?", reply="<think>far</think> It is far."),
    ]
    packed, targets = _hidden(trainer, asked)
    alone = [_hidden(trainer, [question]) for question in asked]
    assert targets.tolist() == np.concatenate([t for _, t in alone]).tolist()
    assert len(targets) > 30
    torch.testing.assert_close(packed, torch.cat([h for h, _ in alone]), atol=2e-5, rtol=1e-5)


def test_questions_that_do_not_fit_are_left_out_and_shorter_ones_still_come(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config("loss.dense=0.0", "data.tokens=100"), CPU)
    image = from_cache(trainer.samples.cache[0])
    asked = [Question("Detect boxes."), Question("long", reply="word " * 200), Question("short", reply="yes")]
    packed = trainer.samples.maker.make(image, asked, 2.0).packed
    assert packed.segment.max() == 2
    assert len(packed.ids) <= 100


def test_training_sees_exactly_what_a_query_sees(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config("loss.dense=0.0"), CPU)
    image = from_cache(trainer.samples.cache[3])
    depth, _ = clean_depth(image.depth)
    valid = np.isfinite(depth)
    cloud, _ = normalise(to_model_frame(image.camera.back_project(depth)), valid)
    seen = vision_input(image.color, cloud, valid, trainer.model_config)
    sample = trainer.samples.maker.make(image, [], 2.0)
    assert np.array_equal(sample.patches, seen.patches)
    assert np.array_equal(sample.coordinates, seen.coordinates)


def test_without_depth_neither_points_nor_bins_hold_any(make_config: MakeConfig) -> None:
    samples = Trainer(make_config("loss.dense=0.0", "data.depth=false"), CPU).samples
    image = from_cache(samples.cache[0])
    asked = [Question("Detect boxes.", ((0, "red mug"),))]
    nearer = replace(image, depth=image.depth * np.float32(0.6))
    first, second = (samples.maker.make(i, asked, 2.0) for i in (image, nearer))
    assert first.packed.ids.tolist() == second.packed.ids.tolist()
    assert not first.coordinates.any()
    assert not second.coordinates.any()


def test_each_batch_has_images_of_one_size(make_config: MakeConfig, small_cache: Path, tmp_path: Path) -> None:
    write_cache(
        tmp_path / "wide", range(100, 108), 1, SceneConfig(width=64, height=36, objects=(1, 3)), 1, lambda _: None
    )
    caches = f"data.caches={{{small_cache}: 0.5, {tmp_path / 'wide'}: 0.5}}"
    trainer = Trainer(make_config("loss.dense=0.0", "data.cache=''", caches, "batch=2"), CPU)
    stream = trainer._batches()
    batches = [next(stream) for _ in range(20)]
    assert {b.grid for b in batches} == {(6, 8), (4, 8)}
    for batch in batches:
        assert batch.patches.shape[1] == batch.grid[0] * batch.grid[1]
        assert torch.isfinite(trainer.model(batch)["loss"])
