"""N3D-VLM: words grounded to 3D boxes, and reasoning over them in metres. Knows no ROS and no training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n3d_core.n3d import N3D

__version__ = "0.1.0"
__all__ = ["N3D", "__version__"]


def __getattr__(name: str) -> Any:
    """Loads the pipeline, and with it torch, only when it is asked for."""
    if name == "N3D":
        from n3d_core.n3d import N3D

        return N3D
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
