"""Asks questions about the frames of a folder, or measures how long a training's questions are.

    python -m training.questions FOLDER --seed N
    python -m training.questions --lengths training/configs/tiny_any_camera.yaml [key=value ...]

Every truth file of the folder gets new groundings and questions; its objects stay as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from n3d_core.atomic_write import write_text
from n3d_core.geometry.frame_folder import FrameFolder
from training.entry.command import described, run_command
from training.questions.fill import fill
from training.questions.language_model import LanguageModel, add_options, chosen
from training.questions.rephrase import rephrase
from training.questions.samples import SpatialSample


def main(arguments: Sequence[str] | None = None) -> int:
    """Fills a folder's truth files and prints, last, what was asked as one JSON line."""
    parser = described(__doc__, prog="python -m training.questions")
    parser.add_argument("folder", help="folder of frames; with --lengths the training's YAML file")
    parser.add_argument("overrides", nargs="*", help="with --lengths: key=value, for example data.tokens=768")
    parser.add_argument(
        "--lengths", action="store_true", help="print how many tokens each kind of question of a training takes"
    )
    parser.add_argument("--images", type=int, default=200, help="images that --lengths draws questions for")
    parser.add_argument("--seed", type=int, default=0, help="other seeds ask other things")
    parser.add_argument("--groundings", type=int, default=4, help="queries a frame at most")
    parser.add_argument("--questions", type=int, default=4, help="spatial questions a frame at most")
    add_options(parser, "--rephrase", "language model that rewords the spatial questions")
    return run_command(_run, parser, arguments)


def _run(args: argparse.Namespace) -> dict[str, Any]:
    if args.lengths:
        return print_lengths(args.folder, args.overrides, args.images)
    return ask(Path(args.folder), args.seed, args.groundings, args.questions, chosen(args))


def print_lengths(config_file: str, overrides: Sequence[str], images: int) -> dict[str, Any]:
    """Prints how many tokens the questions of a training take, by kind, and which of them its rows have no room for.

    Returns:
        By kind: `median`, `p95`, `drawn`, `too_long` and `left_out`.
    """
    from n3d_core.language.tokenizer import load_tokenizer
    from training.data.lengths import measure
    from training.data.stream import SceneSamples
    from training.learn.build import model_config
    from training.learn.config import TrainConfig

    config = TrainConfig.from_yaml(config_file, overrides)
    model = model_config(Path(config.init), config.pe_order, config.points)
    lengths = measure(SceneSamples(config, model, load_tokenizer(config.init, model)), images)
    for line in (lengths.table(), lengths.summary(), *lengths.warnings()):
        print(line, file=sys.stderr)
    return {
        name: {"median": k.median, "p95": k.long, "drawn": k.drawn, "too_long": k.too_long, "left_out": k.left_out}
        for name, k in lengths.kinds.items()
    }


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
        write_text(path / f"{name}.truth.json", json.dumps(filled.to_json(), indent=1))
        counts["frames"] += 1
        counts["groundings"] += len(filled.groundings)
        counts["questions"] += len(filled.questions)
    return counts | outcome


if __name__ == "__main__":
    sys.exit(main())
