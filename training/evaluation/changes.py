"""Model variants used only for measurements: calibration and ablations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from n3d_core.decoding.calibration import Calibration, Existence
from n3d_core.errors import ConfigError
from n3d_core.geometry.frame import Frame
from n3d_core.language.structured import BoxCodec
from n3d_core.n3d import N3D, View
from n3d_core.network.preprocess import VisionInput
from n3d_core.runtime import Runtime
from training.learn.codecs import UNMEASURED, CameraXYCodec

_ALL_EVIDENCE = Existence((0.0,) * 6, (0.0,) * 8, threshold=0.0, sure=0.99)
"""Keeps every box, and always computes the agreement."""


class WithoutDepth:
    """A backend without 3D points: the encoding is the same for every patch."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def encode(self, image: VisionInput) -> Any:
        """See `Backend.encode`."""
        return self._backend.encode(replace(image, coordinates=np.zeros_like(image.coordinates)))


class _CameraXY(N3D):
    """A model whose language uses the camera's x and y."""

    def look(self, frame: Frame, *args: Any) -> View:
        """See `N3D.look`."""
        view = super().look(frame, *args)
        view.codec = CameraXYCodec(view.codec.normalisation, view.codec.camera)
        return view


class _Unmeasured(N3D):
    """A model whose bins contain no measured depth."""

    def look(self, frame: Frame, *args: Any) -> View:
        """See `N3D.look`."""
        view = super().look(frame, *args)
        view.codec = BoxCodec(UNMEASURED, view.codec.camera)
        return view


def changed(model: N3D, changes: tuple[str, ...]) -> N3D:
    """The model with changes: `evidence` (uncalibrated), `no_depth`, or `camera_xy` as its language.

    Raises:
        ConfigError: if a change is unknown.
    """
    for change in changes:
        if change == "evidence":
            model.runtime = replace(model.runtime, calibration=Calibration(existence=_ALL_EVIDENCE))
        elif change == "no_depth":
            without: Any = WithoutDepth(model.backend)
            model = _as(_Unmeasured, model, replace(model.runtime, backend=without))
        elif change == "camera_xy":
            model = _as(_CameraXY, model, model.runtime)
        else:
            raise ConfigError(f"change must be evidence, no_depth or camera_xy; got {change!r}")
    return model


def _as(kind: type[N3D], model: N3D, runtime: Runtime) -> N3D:
    other = kind(model.backend, model.tokenizer, model.runtime.calibration, model.name)
    other.runtime = runtime
    return other
