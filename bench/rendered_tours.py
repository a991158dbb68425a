"""Rendered tours for `python -m bench.memory --boxes model`: what a model finds in them goes into the memory.

A tour is one of `python -m training.scenes --tour`: a furnished room that a camera walks around, with things that are
moved and taken away. The model is asked for all objects in every frame. Its figures for three tours of 60 frames:

    python -m bench.memory --boxes model --tours 3 --seed 5300 --objects 0 --kills 0
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from bench.tours import POSE_SIGMA_M, POSE_SIGMA_RAD, Follower, Thing
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame_folder import MapObject
from n3d_core.memory.association import shared_volume
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.objects import noun_of
from n3d_core.memory.observations import Look, Observation, Pose, observed
from n3d_core.n3d import N3D
from training.scenes.scene_config import SceneConfig
from training.scenes.tour import Tour
from training.scenes.vocabulary import Vocabulary

OBJECTS = (9, 14)  # in a room, as in the tours of training.scenes
FOV = 60.0  # degrees
RIGHT = 0.25  # 3D IoU from which a box counts as right, as in training.evaluate
VISIBLE = 0.5  # share of an object that must show for it to count as in view


def rendered_tour(vocabulary: Vocabulary, seed: int, looks: int) -> Tour:
    """The tour of a seed, of objects that a model was trained on."""
    config = replace(SceneConfig.standard(), fov=(FOV, FOV), objects=OBJECTS).made_of(vocabulary)
    return Tour.sample(seed, config, looks)


def model_tour(
    model: N3D, vocabulary: Vocabulary, memory: ObjectMap, seed: int, looks: int, pose_noise: bool
) -> dict[str, list[float]]:
    """Runs one rendered tour, of what a model was trained on, through it and a memory; see `bench.tours.tour`."""
    tour = rendered_tour(vocabulary, seed, looks)
    noise = (POSE_SIGMA_M, POSE_SIGMA_RAD) if pose_noise else (0.0, 0.0)
    axis_noise = tuple(sigma / math.sqrt(3) for sigma in noise)
    things = _things(tour.objects(), looks)
    follower = Follower(memory, things, tour.views[0].camera)
    for number, (scene, true, told) in enumerate(zip(tour.render(), tour.poses(), tour.poses(*noise), strict=True)):
        follower.start(number)
        pose = Pose.of_matrix(true.camera_to_map)
        for shown in scene.truth.objects:
            thing = _nearest(things, number, _in_map(shown.box.center, pose))
            if thing is not None and shown.visible >= VISIBLE:
                thing.looks += 1
        boxes = [OrientedBox.of(box) for box in model.look(scene.frame).ground("all objects").boxes]
        depth, camera = scene.frame.depth, scene.frame.camera
        look = Look(float(number), Pose.of_matrix(told.camera_to_map, *axis_noise), camera, boxes, depth=depth)
        result = memory.look(look)
        found = [seen for seen in observed(boxes, pose) if seen is not None]
        for seen, identity in zip(found, result.seen, strict=True):
            thing = shown_by(seen, things, number)
            if thing is not None:
                thing.ids.append(identity)
                follower.out["single"].append(float(np.linalg.norm(seen.center - thing.place(number))))
        follower.follow(number, depth, pose)
    follower.judge(looks - 1)
    return follower.out


def _things(objects: list[MapObject], looks: int) -> list[Thing]:
    """The true objects of a tour; its first frame has a stamp of one second."""
    things = []
    for _, group in itertools.groupby(objects, key=lambda one: one.id):
        spans = list(group)
        first = spans[0]
        places: list[tuple[int, np.ndarray | None]] = [(round(one.since) - 1, np.array(one.center)) for one in spans]
        if round(spans[-1].until) < looks:
            places.append((round(spans[-1].until), None))
        things.append(Thing(first.label, np.array(first.size), first.yaw, places))
    return things


def _in_map(center: tuple[float, ...], pose: Pose) -> np.ndarray:
    place: np.ndarray = pose.rotation @ np.asarray(center) + pose.translation
    return place


def shown_by(seen: Observation, things: list[Thing], number: int) -> Thing | None:
    """The true object that a model's box shows: the nearest one of its class, else one that it overlaps by 0.25.

    None if it shows no true object: a false alarm.
    """
    noun = noun_of(seen.label)
    mine = _nearest([thing for thing in things if noun_of(thing.label) == noun], number, seen.center)
    if mine is not None:
        return mine
    other = _nearest(things, number, seen.center)
    if other is None:
        return None
    centers, sizes = np.array([seen.center, other.place(number)]), np.array([seen.size, other.size])
    share = shared_volume(centers, sizes, np.array([seen.yaw, other.yaw]), np.array([0]), np.array([1]))
    return other if share[0] >= RIGHT else None


def _nearest(things: list[Thing], number: int, center: np.ndarray) -> Thing | None:
    """The true object at a place, None if there is none within half its size and 10 cm."""
    places = [(n, place) for n, thing in enumerate(things) if (place := thing.place(number)) is not None]
    standing = [(float(np.linalg.norm(place - center)), n) for n, place in places]
    near = [(apart, n) for apart, n in standing if apart < 0.1 + things[n].size.max() / 2]
    return things[min(near)[1]] if near else None
