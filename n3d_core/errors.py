"""Every error that `n3d_core` raises on purpose.

One small hierarchy: a caller that maps errors to result codes (the ROS node, the command line) needs only these
classes. A message names the thing, the value seen, the value wanted and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class N3DError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(N3DError):
    """A configuration file or value is not usable."""


class MissingDependencyError(N3DError):
    """An optional package is needed and not installed; the message says how to install it."""


@contextmanager
def optional(needed: str, install: str, command: str = "pip install") -> Iterator[None]:
    """For imports of an optional package.

    Args:
        needed: what needs which package, such as "reading bags needs rosbags".
        install: what `command` installs it as.

    Raises:
        MissingDependencyError: if one cannot be imported.
    """
    try:
        yield
    except ImportError as missing:
        raise MissingDependencyError(f"{needed} ({missing}): {command} {install}") from missing


DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, RecursionError)
"""What parsers raise for a file that is missing, damaged, or of another form."""


@contextmanager
def reading(
    source: object, what: str, refusal: type[N3DError], advice: str = "", of: tuple[type[Exception], ...] = DAMAGED
) -> Iterator[None]:
    """For reading a file: names it in every error.

    Args:
        source: the file.
        what: what it should be, such as "a calibration".
        refusal: raised in place of the exceptions `of`.
        advice: ends the message.

    Raises:
        N3DError: of the block, with the file in front unless the message names it.
    """
    try:
        yield
    except N3DError as error:
        if str(source) in str(error):
            raise
        raise type(error)(f"{source}: {error}") from error
    except of as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise refusal(f"{source}: cannot be read as {what} ({type(error).__name__}: {said}){advice}") from error


class CameraError(N3DError):
    """Intrinsics are missing, zero, not finite, or of a distortion model that is not supported."""


class ImageError(N3DError):
    """A colour image has the wrong shape, type or encoding."""


class DepthError(N3DError):
    """A depth image has the wrong shape, unit or encoding, or holds no valid pixel."""


class TransformError(N3DError):
    """A transform between two frames is not known at the image's stamp."""


class BagError(N3DError):
    """A bag is missing, damaged, or holds no RGB-D camera."""


class CheckpointError(N3DError):
    """A checkpoint folder is incomplete, damaged, or not an N3D-VLM."""


class QueryError(N3DError):
    """The text of a query cannot be used."""


class EmptyTextError(QueryError):
    """The text of a query is empty."""


class TextTooLongError(QueryError):
    """The text of a query does not fit the model's context."""


class UnparsableError(N3DError):
    """The model's reply is not in the structured language."""


class QueryCancelledError(N3DError):
    """The caller cancelled the query between two decoding steps."""


class QueryTimeoutError(N3DError):
    """The query used up its time budget."""


class BackendError(N3DError):
    """A backend cannot run here, or failed while it ran."""


class EngineError(BackendError):
    """A compiled engine is missing, stale, damaged, or cannot be built here."""


class ObjectMapError(N3DError):
    """A map of remembered objects cannot be opened, read or written, or a look does not fit it."""


class ApproachError(N3DError):
    """There is no place from which a robot can approach an object, or what it was asked with is not usable."""
