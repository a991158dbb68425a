"""Headless OpenGL rendering of a compiled scene: colour, depth and geom ids."""

from __future__ import annotations

import ctypes.util
import functools
import os
import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import ConfigError, MissingDependencyError
from training.scenes.viewpoint import Viewpoint
from training.scenes.world import FAR, NEAR, World

_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_PACKAGES = (
    "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri (EGL), or apt-get install libosmesa6 (OSMesa); "
    "elsewhere install the Mesa or GPU vendor's libEGL"
)


@functools.cache
def choose_backend() -> str:
    """Picks "egl" or "osmesa" for this process and its children, and returns it; MUJOCO_GL takes precedence.

    Processes render scenes in parallel, so the software rasteriser gets one thread unless LP_NUM_THREADS is set (two
    threads gain nothing at these image sizes).

    Raises:
        MissingDependencyError: if MuJoCo or both OpenGL libraries are missing or do not work.
        ConfigError: if MUJOCO_GL has another value.
    """
    os.environ.setdefault("LP_NUM_THREADS", "1")
    asked = os.environ.get("MUJOCO_GL", "").lower()
    if asked and asked not in _LIBRARIES:
        raise ConfigError(f"MUJOCO_GL must be egl or osmesa, to render without a display, or unset; got {asked!r}")
    reasons = []
    for backend in [asked] if asked else list(_LIBRARIES):
        reason = _try_backend(backend)
        if reason is None:
            os.environ["MUJOCO_GL"] = backend
            return backend
        reasons.append(f"{backend}: {reason}")
    raise MissingDependencyError(f"scenes cannot be rendered ({'; '.join(reasons)}): {_PACKAGES}")


def _try_backend(backend: str) -> str | None:
    """Why a backend does not work; None if it does. PyOpenGL allows one platform per process, so try another."""
    if ctypes.util.find_library(_LIBRARIES[backend]) is None:
        return f"lib{_LIBRARIES[backend]} is not installed"
    code = f"from mujoco.{backend} import GLContext; GLContext(64, 64).make_current()"
    environment = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"} | {"MUJOCO_GL": backend}
    tried = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    if tried.returncode == 0:
        return None
    last = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
    if "No module named 'mujoco'" in last:
        raise MissingDependencyError("rendering scenes needs MuJoCo: pip install 'n3d_ros[train]'")
    return last


@functools.cache
def _gl_context() -> Any:
    """The process's OpenGL context, made current."""
    backend = choose_backend()
    if backend == "egl":
        from mujoco.egl import GLContext
    else:
        from mujoco.osmesa import GLContext
    context = GLContext(64, 64)  # its size does not matter: MuJoCo renders to its own off-screen buffer
    context.make_current()
    return context


class WorldRenderer:
    """Renders views of a compiled scene; a context manager that frees the GPU memory."""

    def __init__(self, world: World) -> None:
        import mujoco

        _gl_context()
        self._world = world
        self._context = mujoco.MjrContext(world.model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(world.model, maxgeom=world.model.ngeom + 8)
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0

    def __enter__(self) -> WorldRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.free()

    def render(self, view: Viewpoint) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
        """Colour (RGB uint8 [H, W, 3]), depth (metres [H, W]) and owners ([H, W], 0 for the surroundings)."""
        import mujoco

        world, flags = self._world, mujoco.mjtRndFlag
        rotation = view.rotation * np.array([1.0, -1.0, -1.0])  # MuJoCo's cameras look along -z with y up
        world.data.cam_xpos[0] = view.position
        world.data.cam_xmat[0] = rotation.reshape(-1)
        world.model.cam_fovy[0] = np.degrees(2 * np.arctan(view.camera.height / 2 / view.camera.fy))
        mujoco.mjv_updateScene(
            world.model, world.data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        self._scene.flags[flags.mjRND_SHADOW] = world.shadows
        self._scene.flags[flags.mjRND_REFLECTION] = False
        self._scene.flags[flags.mjRND_SKYBOX] = False
        color = self._draw(view, None)
        depth = np.empty(color.shape[:2], np.float32)
        self._scene.flags[flags.mjRND_SEGMENT] = self._scene.flags[flags.mjRND_IDCOLOR] = True
        ids = self._draw(view, depth)
        self._scene.flags[flags.mjRND_SEGMENT] = self._scene.flags[flags.mjRND_IDCOLOR] = False
        metres = NEAR * FAR / (NEAR + depth * (FAR - NEAR))  # reversed z: 1 at the near plane, 0 at the far one
        return color, np.ascontiguousarray(metres[::-1], dtype=np.float32), self._owners(ids)

    def _draw(self, view: Viewpoint, depth: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        import mujoco

        size = mujoco.MjrRect(0, 0, view.camera.width, view.camera.height)
        pixels = np.empty((view.camera.height, view.camera.width, 3), np.uint8)
        mujoco.mjr_render(size, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, depth, size, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def _owners(self, ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Owner of each pixel from the segmentation colours, which are the drawn geom's number + 1."""
        drawn = ids[..., 0].astype(np.int32) + ids[..., 1].astype(np.int32) * 256
        table = np.zeros(self._scene.ngeom + 1, np.uint8)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            table[geom.segid + 1] = self._world.owner[geom.objid]
        return table[np.clip(drawn, 0, self._scene.ngeom)]
