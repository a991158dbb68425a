"""The bench of rendered tours: which true object a box shows, and the figures of a model that finds them all."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.rendered_tours import model_tour, rendered_tour, shown_by
from bench.tours import Thing
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.observations import Observation
from n3d_core.models import find_model
from training.scenes.vocabulary import Vocabulary

pytest.importorskip("mujoco", reason="scenes are rendered by MuJoCo")
SEED, LOOKS = 11, 8
SURE = tuple((np.eye(3) * 0.01**2).reshape(-1).tolist())


class Perfect:
    """Finds every object that shows at least a third of itself, where it is."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._scenes = rendered_tour(vocabulary, SEED, LOOKS).render()
        self.said = 0

    def look(self, _: object) -> SimpleNamespace:
        shown = [one.box for one in next(self._scenes).truth.objects if one.visible > 1 / 3]
        self.said += len(shown)
        boxes = [replace(box, score=0.9, covariance=SURE) for box in shown]
        return SimpleNamespace(ground=lambda text: SimpleNamespace(boxes=boxes))


def test_a_model_that_finds_everything_is_remembered_without_a_fault(tmp_path):
    vocabulary, memory = Vocabulary.of_model(find_model("n3d-tiny")), ObjectMap(tmp_path / "m.db")
    model = Perfect(vocabulary)
    out = model_tour(model, vocabulary, memory, SEED, LOOKS, pose_noise=False)
    memory.close()
    assert model.said == len(out["single"]) > 20
    assert max(out["single"]) < 0.25  # hulls in the camera's frame; the truth's boxes are upright
    assert np.mean(out["recall"]) == 1.0
    assert np.mean(out["precision"]) == 1.0
    assert sum(out["gone_wrongly"]) == sum(out["doubled"]) == 0


def seen(label, center, size=0.3):
    return Observation(label, np.array(center), np.eye(3) * 1e-4, np.full(3, size), 0.0, 0.9)


@pytest.mark.parametrize(
    ("label", "center", "shown"),
    [
        ("red ball", (0.1, 0.0, 0.2), "red ball"),
        ("blue ball", (0.2, 0.0, 0.2), "red ball"),  # the nearest of its class, though the lamp is as near
        ("green box", (1.0, 0.0, 0.25), "blue lamp"),  # called otherwise, and in its place
        ("red ball", (0.45, 0.0, 0.2), None),  # too far from the ball, and beside the lamp
        ("green box", (0.2, 0.0, 0.4), None),  # a false alarm between two
    ],
)
def test_a_box_shows_the_nearest_object_of_its_class_or_the_one_that_it_overlaps(label, center, shown):
    ball = Thing("red ball", np.full(3, 0.3), 0.0, [(0, np.array([0.0, 0.0, 0.15]))])
    lamp = Thing("blue lamp", np.full(3, 0.3), math.pi / 2, [(0, np.array([1.0, 0.0, 0.2]))])
    found = shown_by(seen(label, center), [ball, lamp], 0)
    assert (found.label if found else None) == shown
