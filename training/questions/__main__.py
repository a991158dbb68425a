"""Asks questions about the frames of a folder: `python -m training.questions FOLDER --seed N`.

Every truth file of the folder gets new groundings and questions; its objects stay as they are.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from n3d_core.atomic_write import atomic_write
from n3d_core.geometry.frame_folder import FrameFolder
from training.entry.command import described, run_command
from training.questions.fill import fill
from training.questions.language_model import LanguageModel, add_options, chosen
from training.questions.rephrase import rephrase
from training.questions.samples import SpatialSample


def main(arguments: Sequence[str] | None = None) -> int:
    """Fills a folder's truth files and prints, last, what was asked as one JSON line."""
    parser = described(__doc__, prog="python -m training.questions")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="other seeds ask other things")
    parser.add_argument("--groundings", type=int, default=4, help="queries a frame at most")
    parser.add_argument("--questions", type=int, default=4, help="spatial questions a frame at most")
    add_options(parser, "--rephrase", "language model that rewords the spatial questions")
    return run_command(lambda a: ask(a.folder, a.seed, a.groundings, a.questions, chosen(a)), parser, arguments)


def ask(
    path: Path, seed: int, groundings: int = 4, questions: int = 4, model: LanguageModel | None = None
) -> dict[str, int]:
    """Fills each truth file of a frame folder (written aside and renamed).

    Args:
        path: the folder.
        seed: other seeds ask other things.
        groundings, questions: how many a frame at most.
        model: rewords the questions where that is safe; None leaves them as they are.

    Returns:
        How many frames and questions there were, and what became of the rewordings (see `rephrase`).

    Raises:
        BackendError: if the model cannot be reached; frames before that are filled.
    """
    outcome = Counter[str]()

    def reword(samples: list[SpatialSample]) -> list[SpatialSample]:
        if model is None:
            return samples
        kept, found = rephrase(samples, model)
        outcome.update(found)
        return kept

    folder = FrameFolder(path)
    counts = {"frames": 0, "groundings": 0, "questions": 0}
    for index, name in enumerate(folder.names):
        truth = folder.truth(index)
        if truth is None:
            continue
        filled = fill(truth, seed + 1000 * index, folder.camera, groundings, questions, reword=reword)
        with atomic_write(path / f"{name}.truth.json") as part:
            part.write_text(json.dumps(filled.to_json(), indent=1))
        counts["frames"] += 1
        counts["groundings"] += len(filled.groundings)
        counts["questions"] += len(filled.questions)
    return counts | outcome


if __name__ == "__main__":
    sys.exit(main())
