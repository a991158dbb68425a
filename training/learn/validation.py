"""Evaluation during a training: the exported model on a few validation scenes, as rows of the training's metrics."""

from __future__ import annotations

from pathlib import Path

from training.evaluate import report_of
from training.evaluation.running import run_suite
from training.evaluation.suite import Amount, FolderSuite, SceneSuite
from training.evaluation.table import headline
from training.learn.config import ValidationConfig
from training.scenes.vocabulary import Vocabulary


def validate(folder: Path, config: ValidationConfig) -> dict[str, float]:
    """The main figures of a checkpoint folder, by name, except those with nothing to count."""
    amount = Amount(config.groundings, config.questions, 0)
    taught = Vocabulary.of_model(folder)
    suite = (
        FolderSuite(config.folder, 0, amount, taught)
        if config.folder
        else SceneSuite(config.scenes, amount=amount, held_out="validation", vocabulary=taught)
    )
    found = headline(report_of(run_suite(folder, suite, workers=1)))
    return {f"validation_{name}": value for name, value in found.items() if value is not None}
