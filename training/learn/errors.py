"""What can go wrong in a training beyond its configuration."""

from __future__ import annotations

from n3d_core.errors import N3DError


class TrainingError(N3DError):
    """A training cannot go on: its loss is not finite, a loader was killed, or a file cannot be written or read."""
