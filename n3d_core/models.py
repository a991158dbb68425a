"""Finds models: a named folder, one that ships with the package, or a downloaded one."""

from __future__ import annotations

import os
from pathlib import Path

from n3d_core.errors import CheckpointError
from n3d_core.hub import downloaded, downloads


def find_model(name: str | Path) -> Path:
    """The checkpoint folder of a path, a shipped model's name, or a downloaded one's (`owner/repository` too).

    Raises:
        CheckpointError: if there is no such folder; the message lists the models that are there.
    """
    try:
        path = Path(name).expanduser()
        places = [path, *(shelf / path for shelf in shelves() if path.name == str(name)), *downloaded(str(name))]
        for place in places:
            if (place / "config.json").exists():
                return place
    except (OSError, RuntimeError) as error:  # a name that is too long, or of a home that is not there
        raise CheckpointError(f"model {str(name)[:80]!r}: not a possible folder name ({error})") from error
    here = sorted({p.parent.name for shelf in shelves() for p in shelf.glob("*/config.json")})
    raise CheckpointError(
        f"model {str(name)!r}: no such folder with a config.json, and no shipped or downloaded model of that name; "
        f"known models: {', '.join(here) or 'none'}; `n3d download` lists what can be fetched"
    )


def shelves() -> list[Path]:
    """Folders of models: `N3D_MODELS`, beside the sources, shares of an installed package, and what was downloaded."""
    package = Path(__file__).resolve().parent
    found = [Path(p) for p in os.environ.get("N3D_MODELS", "").split(os.pathsep) if p]
    found += [package.parent / "models", package / "shipped"]  # a checkout; an installed wheel
    # <prefix>/lib/python3.x/site-packages/n3d_core -> <prefix>/share/n3d_ros/models
    found += [p / "share" / "n3d_ros" / "models" for p in package.parents[:5]]
    found.append(downloads())
    return [p for p in found if p.is_dir()]
