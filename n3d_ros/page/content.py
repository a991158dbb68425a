"""What the page shows of one camera, and how it is told that there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from n3d_core.errors import N3DError


class UnavailableError(N3DError):
    """There is nobody to ask, nothing to see, or no viewer to see it with; the message says why."""


class Asked(Protocol):
    """Answers a text: `mode` is "ground" or "ask"."""

    def __call__(self, text: str, mode: Literal["ground", "ask"]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class CameraContent:
    """What is behind the page of a camera; all is called in threads of the server.

    Attributes:
        ask: asks the camera's grounding node.
        status: told to the page once a second.
        image: the newest image with its boxes, as JPEG; for browsers without the viewer.
        stream: the live scene for one viewer, until the function that it is given says that the viewer is gone.

    Each raises `UnavailableError` with the reason, where it has nothing to give.
    """

    ask: Asked
    status: Callable[[], dict[str, Any]]
    image: Callable[[], bytes]
    stream: Callable[[Callable[[], bool]], Iterator[bytes]]
