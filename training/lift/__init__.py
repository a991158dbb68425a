"""The data engine: 2D annotations in, 3D grounding data and spatial questions out; see docs/data-engine.md."""

from __future__ import annotations

from importlib.util import find_spec

from n3d_core.errors import MissingDependencyError

_NEEDED = ("ijson", "pyarrow", "pycocotools", "scipy")

if _missing := [name for name in _NEEDED if find_spec(name) is None]:
    raise MissingDependencyError(f"training.lift needs {', '.join(_missing)}: pip install -e '.[lift]'")
