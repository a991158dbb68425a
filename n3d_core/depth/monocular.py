"""Metric depth from one colour image, for cameras without a depth sensor."""

from __future__ import annotations

from pathlib import Path

from n3d_core.depth.estimate import MonocularDepth
from n3d_core.errors import CheckpointError

# short names of published models; `n3d download` fetches them
PUBLISHED = {"indoor": "depth-anything-v2-indoor", "outdoor": "depth-anything-v2-outdoor", "moge": "moge-2"}


def load_monocular(source: str, device: str = "auto") -> MonocularDepth:
    """Loads a local depth model; nothing is downloaded.

    Args:
        source: `indoor`, `outdoor` (Depth Anything V2) or `moge` (MoGe-2), as `n3d download` stored them; or a folder.
        device: `auto`, `cpu`, `cuda` …

    Raises:
        CheckpointError: if the folder does not exist or holds neither model.
        MissingDependencyError: if the package that runs the model is not installed.
    """
    folder = _folder(source)
    if (folder / "model.pt").is_file() or folder.suffix == ".pt":
        from n3d_core.depth.moge import MoGe

        return MoGe.load(folder, device)
    if (folder / "config.json").is_file():
        from n3d_core.depth.depth_anything import DepthAnything

        return DepthAnything.load(folder, device)
    raise CheckpointError(
        f"{folder}: no monocular depth model; the folder must hold config.json with model.safetensors (Depth Anything "
        "V2), or model.pt (MoGe-2)"
    )


def _folder(source: str) -> Path:
    if source not in PUBLISHED:
        if not Path(source).exists():
            known = ", ".join(PUBLISHED)
            raise CheckpointError(f"{source}: no such folder; expected {known} or the folder of a monocular model")
        return Path(source)
    from n3d_core.hub import local_folder

    folder = local_folder(PUBLISHED[source])
    if not folder.is_dir():
        raise CheckpointError(
            f"the monocular model {source!r} is not downloaded ({folder}): run `n3d download {PUBLISHED[source]}`"
        )
    return folder
