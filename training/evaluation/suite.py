"""Suites for evaluating a checkpoint: frames with their truth, queries and questions.

The standard suite is rendered on the fly from test seeds. A frame folder with truth uses the queries of its truth files
or, if they have none, generated ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from n3d_core.errors import ConfigError
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder, Truth
from n3d_core.reasoning.question import TYPES
from n3d_core.reasoning.units import UNITS
from training.evaluation.answers import NUMERICAL
from training.questions.fill import fill, groundable
from training.questions.grounding import SceneObjects
from training.questions.marks import MARK_COLORS, marked_samples
from training.scenes.scene import render
from training.scenes.scene_config import SceneConfig
from training.scenes.seeds import TEST_SEEDS, VALIDATION_SEEDS
from training.scenes.vocabulary import ALL, Vocabulary

_LONGER_SIDE = 640  # pixels, for scenes of several aspect ratios
_ANY_FOV = (40.0, 95.0)  # degrees, along the longer side
_APART = 10_000  # distance between the first seeds of two suites


@dataclass(frozen=True)
class Case:
    """A frame with its queries and questions: `truth.groundings` and `truth.questions` in the form of the truth file.

    `hidden` are the indices of objects that are hardly visible: finding one in a query for all objects is neither right
    nor wrong.
    """

    name: str
    frame: Frame
    truth: Truth
    hidden: tuple[int, ...]


@dataclass(frozen=True)
class Amount:
    """The maximum number of queries and questions per frame."""

    groundings: int = 4
    questions: int = 4
    marked: int = 1


@dataclass(frozen=True)
class SceneSuite:
    """The standard suite: 3 to 10 objects, sensor noise on, 640x480.

    Attributes:
        scenes: number of scenes.
        seed: suites of different seeds share no scene (up to 10,000 scenes).
        shift: whether to use camera heights and lights outside the training range.
        ratios: (width, height) of aspect ratios to alternate between, with 640 pixels along the longer side and fields
            of view of 40 to 95 degrees; empty for `width` x `height` at 46 to 76 degrees.
        vocabulary: names that the model was trained on, for the objects in the scenes and absent ones.
        held_out: `test` for published figures, `validation` for decisions during training.
    """

    scenes: int
    seed: int = 0
    shift: bool = False
    amount: Amount = Amount()
    held_out: str = "test"
    width: int = 640
    height: int = 480
    vocabulary: Vocabulary = ALL
    ratios: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.scenes <= _APART:
            raise ConfigError(f"scenes must be between 1 and {_APART}; got {self.scenes}")

    def __len__(self) -> int:
        return self.scenes

    def __getitem__(self, index: int) -> Case:
        seeds = TEST_SEEDS if self.held_out == "test" else VALIDATION_SEEDS
        number = seeds.start + (self.seed * _APART + index) % len(seeds)
        taught = self.vocabulary
        config = self._camera(index).made_of(taught)
        scene = render(number, config.shifted() if self.shift else config)
        return _asked(str(number), scene.frame, scene.truth, number, self.amount, taught)

    def _camera(self, index: int) -> SceneConfig:
        if not self.ratios:
            return SceneConfig.standard(self.width, self.height)
        width, height = self.ratios[index % len(self.ratios)]
        scale = _LONGER_SIDE / max(width, height)
        return replace(SceneConfig.standard(round(width * scale), round(height * scale)), fov=_ANY_FOV)

    def describe(self) -> dict[str, Any]:
        """Identifies the settings of a run."""
        return {
            **({"ratios": self.ratios} if self.ratios else {}),
            "kind": self.held_out,
            "seed": self.seed,
            "shift": self.shift,
            "size": [self.width, self.height],
            "vocabulary": asdict(self.vocabulary),
        } | vars(self.amount)


class FolderSuite:
    """A frame folder with truth.

    Raises:
        ImageError, CameraError: if it is not a frame folder, or a truth file has another form.
        ConfigError: if no frame has a truth file, or a question cannot be judged.
    """

    def __init__(
        self, path: str | Path, seed: int = 0, amount: Amount = Amount(), vocabulary: Vocabulary = ALL
    ) -> None:
        self.folder, self.seed, self.amount, self.vocabulary = FrameFolder(path), seed, amount, vocabulary
        self.indices = [i for i in range(len(self.folder)) if self.folder.truth(i) is not None]
        if not self.indices:
            raise ConfigError(f"{path}: no frame has a truth file (NNNNNN.truth.json) to evaluate against")
        for i in self.indices:
            truth = self.folder.truth(i)
            if truth is not None:
                _check_judgeable(truth, f"{path}/{self.folder.names[i]}.truth.json")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Case:
        place = self.indices[index]
        frame, truth = self.folder.frame(place), self.folder.truth(place)
        assert truth is not None
        name = self.folder.names[place]
        if truth.groundings or truth.questions:
            return Case(name, frame, truth, _hidden(truth, frame))
        return _asked(name, frame, truth, self.seed + 1000 * place, self.amount, self.vocabulary)

    def describe(self) -> dict[str, Any]:
        """Identifies the settings of a run."""
        return {
            "kind": "folder",
            "path": str(self.folder.path.resolve()),
            "files": self._digest(),
            "seed": self.seed,
            "vocabulary": asdict(self.vocabulary),
        } | vars(self.amount)

    def _digest(self) -> str:
        """A digest of the folder's files."""
        files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(self.folder.path.iterdir())]
        return hashlib.sha256(repr(files).encode()).hexdigest()[:16]


def _check_judgeable(truth: Truth, where: str) -> None:
    """Rejects questions and marks that no answer could be judged against."""
    for i, entry in enumerate(truth.questions):
        kind, answer, unit = entry["type"], entry["answer"], entry.get("unit")
        place = f"{where}: questions[{i}]"
        if kind not in TYPES:
            raise ConfigError(f"{place}.type must be one of {', '.join(TYPES)}; got {kind!r}")
        number = isinstance(answer, int | float) and not isinstance(answer, bool)
        form = entry.get("form") or ("number" if kind in NUMERICAL else "")
        if (form in ("number", "difference")) != number and (form or number):
            wanted = "a number" if kind in NUMERICAL else "true, false, a name or a list of names"
            raise ConfigError(f"{place}.answer is {answer!r}, but a question of type {kind!r} is answered by {wanted}")
        if unit and unit not in (*UNITS, "o'clock", "deg", "l"):
            raise ConfigError(f"{place}.unit must be one of {', '.join(UNITS)}, l, deg, o'clock or none; got {unit!r}")
    for entry in (*truth.groundings, *truth.questions):
        for mark in [entry["mark"]] if "mark" in entry else entry.get("marks", []):
            if mark["color"] not in MARK_COLORS:
                raise ConfigError(
                    f"{where}: color of a mark must be one of {', '.join(MARK_COLORS)}; got {mark['color']!r}"
                )


def _asked(name: str, frame: Frame, truth: Truth, seed: int, amount: Amount, taught: Vocabulary) -> Case:
    truth = fill(truth, seed, frame.camera, amount.groundings, amount.questions, taught)
    scene = SceneObjects.of(truth.objects, groundable(truth.objects, frame.camera))
    marked = [s.to_json() for s in marked_samples(scene, frame.camera, amount.marked, seed + 2)]
    return Case(name, frame, replace(truth, groundings=truth.groundings + marked), _hidden(truth, frame))


def _hidden(truth: Truth, frame: Frame) -> tuple[int, ...]:
    seen = set(groundable(truth.objects, frame.camera))
    return tuple(i for i in range(len(truth.objects)) if i not in seen)
