"""Errors of the data engine: those that stop a run, and those that affect one image."""

from __future__ import annotations

from n3d_core.errors import N3DError


class SourceError(N3DError):
    """A source's annotation file or folder is missing or of another kind."""


class ShardError(N3DError):
    """A shard, index or manifest is missing, damaged, or belongs to another run."""


class ClusterError(N3DError):
    """A Ray cluster cannot be reached or started."""


class ImageProblem(N3DError):  # noqa: N818 - counted, not shown to the user
    """One image cannot be used.

    Attributes:
        reason: one of `observation.IMAGE_REASONS`.
        rejected: number of its objects rejected by each rule.
    """

    def __init__(self, reason: str, detail: str, rejected: dict[str, int] | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.rejected = rejected or {}

    def __reduce__(self) -> tuple[type[ImageProblem], tuple[str, str, dict[str, int]]]:
        return type(self), (self.reason, str(self), self.rejected)
