"""The names that a model is trained on: `vocabulary.json` in its folder, or all names of the scenes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from n3d_core.atomic_write import write_text
from n3d_core.errors import ConfigError
from training.scenes.catalogue import CLASSES
from training.scenes.colors import COLORS

VOCABULARY = "vocabulary.json"


@dataclass(frozen=True)
class Vocabulary:
    """Names of classes and colours."""

    classes: tuple[str, ...] = CLASSES
    colors: tuple[str, ...] = COLORS

    @classmethod
    def of_model(cls, folder: str | Path) -> Vocabulary:
        """The vocabulary of the model in a folder.

        Raises:
            ConfigError: if its file does not contain two lists of names.
        """
        path = Path(folder) / VOCABULARY
        if not path.exists():
            return cls()
        try:
            data = json.loads(path.read_text())
            return cls(tuple(map(str, data["classes"])), tuple(map(str, data["colors"])))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f'{path} must contain {{"classes": [...], "colors": [...]}} ({error!r})') from error

    def write(self, folder: Path) -> None:
        """Writes the names to a model's folder."""
        write_text(folder / VOCABULARY, json.dumps(asdict(self)) + "\n")


ALL = Vocabulary()
"""All classes and colours of the scenes."""
