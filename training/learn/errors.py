"""Errors of a training other than configuration errors."""

from __future__ import annotations

from n3d_core.errors import N3DError


class TrainingError(N3DError):
    """A training cannot continue: its loss is not finite, a loader was killed, or a file cannot be written or read."""
