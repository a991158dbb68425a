"""Builds the MuJoCo model of a layout: a static geom per part, a room, lights and a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.scenes.colors import tinted
from training.scenes.layout import Layout, PlacedObject
from training.scenes.parts import Array, Part, about
from training.scenes.scene_config import SceneConfig
from training.scenes.textures import SIZE, sample_texture

NEAR, FAR = 0.02, 30.0  # metres of the view frustum


@dataclass(frozen=True)
class World:
    """A compiled scene.

    Attributes:
        model, data: MuJoCo's objects, with kinematics computed.
        owner: index + 1 of the object of each geom, 0 for the surroundings, uint8 [ngeom].
        shadows: whether shadows are cast.
    """

    model: Any
    data: Any
    owner: NDArray[np.uint8]
    shadows: bool


def build_world(rng: np.random.Generator, config: SceneConfig, layout: Layout) -> World:
    """Compiles a layout with random textures and lights."""
    import mujoco

    shadows = bool(rng.random() < config.shadow_share)
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.stat.extent = 1.0
    spec.stat.center = [0, 0, layout.support]
    visual = spec.visual
    visual.map.znear, visual.map.zfar = NEAR, FAR
    visual.map.shadowclip = 1.4 if layout.place == "table" else 4.0
    visual.global_.offwidth, visual.global_.offheight = config.width, config.height
    visual.quality.offsamples = config.samples
    visual.quality.shadowsize = config.shadow_size if shadows else 0
    visual.quality.numslices, visual.quality.numstacks = 24, 12
    spec.worldbody.add_camera(name="camera")
    owner, images = _add_surroundings(spec, rng, layout)
    _add_lights(spec, rng, config, layout, shadows)
    for index, item in enumerate(layout.objects):
        shininess = float(rng.uniform(0.05, 0.6))
        material = {
            tint: _add_material(spec, f"{index}.{tint}", tinted(item.rgb, tint), shininess)
            for tint in dict.fromkeys(part.tint for part in item.parts)
        }
        for number, part in enumerate(item.parts):
            mesh = _add_mesh(spec, f"{index}.{number}", part)
            _add_part(spec, part, mesh, material[part.tint], item.rotation, item.position)
            owner.append(index + 1)
    for number, item in enumerate(layout.clutter):
        _add_clutter(spec, f"clutter.{number}", item)
        owner += [0] * len(item.parts)
    model = spec.compile()
    for name, image in images.items():
        _fill_texture(model, name, image)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return World(model, data, np.array(owner, np.uint8), shadows)


def _add_clutter(spec: Any, name: str, item: PlacedObject) -> None:
    for number, part in enumerate(item.parts):
        material = _add_material(spec, f"{name}.{number}", tinted(item.rgb, part.tint), 0.2)
        mesh = _add_mesh(spec, f"{name}.{number}", part)
        _add_part(spec, part, mesh, material, item.rotation, item.position)


def _add_surroundings(
    spec: Any, rng: np.random.Generator, layout: Layout
) -> tuple[list[int], dict[str, NDArray[np.uint8]]]:
    """Floor, four walls and, for a tabletop scene, the table; returns their owners (0) and the textures."""
    import mujoco

    half = np.array(layout.half) if layout.place == "floor" else rng.uniform(2.4, 4.0, 2)
    images = {"floor": sample_texture(rng), "wall": sample_texture(rng, (0.45, 0.92))}
    _add_textured(spec, "floor", rng.uniform(0.5, 1.5, 2))
    _add_textured(spec, "wall", rng.uniform(0.25, 0.75, 2))
    plane, cuboid = mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_BOX

    def add(kind: Any, material: str, size: Sequence[float], at: Array, rotation: Array | None = None) -> None:
        quat = _quaternion(np.eye(3) if rotation is None else rotation)
        spec.worldbody.add_geom(type=kind, size=size, pos=at, quat=quat, material=material, contype=0, conaffinity=0)

    add(plane, "floor", (*half, 1), np.zeros(3))
    high = 1.6
    for turn, (across, along) in enumerate(((half[0], half[1]), (half[1], half[0])) * 2):
        heading = about("z", 90.0 * turn)  # only a plane's +z side is visible, so it faces inwards
        add(plane, "wall", (high, along, 1), heading @ np.array([across, 0, high]), heading @ about("y", -90.0))
    if layout.place == "table":
        images["table"] = sample_texture(rng, (0.30, 0.90))
        _add_textured(spec, "table", rng.uniform(0.7, 2.0, 2))
        x, y, t = *layout.half, 0.03
        leg = (layout.support - t) / 2
        add(cuboid, "table", (x, y, t / 2), np.array([0, 0, layout.support - t / 2]))
        for sx, sy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            add(cuboid, "table", (0.03, 0.03, leg), np.array([sx * (x - 0.05), sy * (y - 0.05), leg]))
    return [0] * len(spec.geoms), images


def _add_lights(spec: Any, rng: np.random.Generator, config: SceneConfig, layout: Layout, shadows: bool) -> None:
    import mujoco

    def tint(strength: float) -> Array:
        return np.clip(strength * (1 + rng.uniform(-config.light_tint, config.light_tint, 3)), 0, 1)

    spec.visual.headlight.ambient = tint(rng.uniform(*config.ambient))
    spec.visual.headlight.diffuse = np.full(3, rng.uniform(0.05, 0.25))
    spec.visual.headlight.specular = np.zeros(3)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*config.light_elevation))
    away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=np.array([0, 0, layout.support]) + away * 2.2,
        dir=-away,
        diffuse=tint(rng.uniform(*config.light)),
        ambient=np.zeros(3),
        specular=np.full(3, rng.uniform(0.1, 0.4)),
        castshadow=shadows,
    )


def _add_textured(spec: Any, name: str, repeat: Array) -> None:
    """A texture and a material with the same name; the pixels are filled in after compilation."""
    import mujoco

    flat, plane = mujoco.mjtBuiltin.mjBUILTIN_FLAT, mujoco.mjtTexture.mjTEXTURE_2D
    spec.add_texture(name=name, type=plane, builtin=flat, width=SIZE, height=SIZE, nchannel=3)
    material = spec.add_material(name=name, texuniform=True, texrepeat=repeat, specular=0.1, shininess=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _fill_texture(model: Any, name: str, image: NDArray[np.uint8]) -> None:
    start = int(model.texture(name).adr[0])
    model.tex_data[start : start + image.size] = image.reshape(-1)


def _add_material(spec: Any, name: str, rgb: Array, shininess: float) -> str:
    spec.add_material(name=name, rgba=[*np.clip(rgb, 0, 1), 1.0], specular=0.3, shininess=shininess)
    return name


def _add_mesh(spec: Any, name: str, part: Part) -> str | None:
    import mujoco

    if part.mesh is None:
        return None
    spec.add_mesh(
        name=name,
        uservert=part.mesh.vertices.reshape(-1).astype(np.float32),
        userface=part.mesh.faces.reshape(-1),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    return name


def _add_part(spec: Any, part: Part, mesh: str | None, material: str, rotation: Array, position: Array) -> None:
    import mujoco

    kinds = {
        "box": mujoco.mjtGeom.mjGEOM_BOX,
        "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
        "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
        "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
        "mesh": mujoco.mjtGeom.mjGEOM_MESH,
    }
    spec.worldbody.add_geom(
        type=kinds[part.kind],
        size=part.size,
        meshname=mesh or "",
        material=material,
        pos=rotation @ part.position + position,
        quat=_quaternion(rotation @ part.rotation),
        contype=0,
        conaffinity=0,
    )


def _quaternion(rotation: Array) -> Array:
    import mujoco

    out = np.zeros(4)
    mujoco.mju_mat2Quat(out, np.ascontiguousarray(rotation).reshape(-1))
    return out
