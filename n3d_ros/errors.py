"""Errors of the ROS side, and the table that maps errors to the status codes of `Result.msg`."""

from __future__ import annotations

from n3d_core import errors as core
from n3d_ros.msg import Result


class NoImageError(core.N3DError):
    """No complete set of colour, depth and camera info has arrived.

    Attributes:
        connected: `time.monotonic()` at which the middleware connected images that were subscribed again (the present
            if it has not yet); None if they were subscribed all along, or if nobody publishes them.
    """

    connected: float | None = None


class StaleImageError(core.N3DError):
    """The newest image is too old, or from the future."""


class BusyError(core.N3DError):
    """The queue has no room for another query."""


class NotActiveError(core.N3DError):
    """The node is not active, or was deactivated or shut down while the query ran."""


class ReplacedError(core.N3DError):
    """A newer query replaced this one."""


class TransformError(core.TransformError):
    """TF has no transform between two frames at the image's stamp."""


class UnavailableError(core.N3DError):
    """The page has no grounding node to ask, nothing to show, or no viewer."""


# The first matching class wins.
_STATUS: tuple[tuple[type[core.N3DError], int], ...] = (
    (NoImageError, Result.NO_IMAGE),
    (StaleImageError, Result.STALE_IMAGE),
    (BusyError, Result.BUSY),
    (NotActiveError, Result.NOT_ACTIVE),
    (ReplacedError, Result.REPLACED),
    (TransformError, Result.NO_TRANSFORM),
    (core.EmptyTextError, Result.EMPTY_TEXT),
    (core.TextTooLongError, Result.TEXT_TOO_LONG),
    (core.QueryError, Result.EMPTY_TEXT),
    (core.QueryCancelledError, Result.CANCELLED),
    (core.QueryTimeoutError, Result.TIMEOUT),
    (core.DepthError, Result.BAD_DEPTH),
    (core.CameraError, Result.BAD_CAMERA),
    (core.ImageError, Result.NO_IMAGE),
    (core.UnparsableError, Result.UNPARSABLE),
)

STATUS_NAMES = {value: name for name in dir(Result) if isinstance(value := getattr(Result, name), int)}


def status_of(error: Exception) -> int:
    """The status code of an error; MODEL_FAILURE if neither the caller nor the camera caused it."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), Result.MODEL_FAILURE)
