"""An endless, repeatable stream of samples: sample number n is a pure function of the data and the seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from n3d_core.errors import ConfigError
from n3d_core.language.codec import BoxCodec
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.model.config import N3DConfig
from training.camera_xy import CameraXYCodec
from training.config import TrainConfig
from training.mixture import QuestionMixture
from training.model import Batch, collate
from training.samples import Sample, SampleMaker, augment, from_cache
from training.scenes.cache import SceneCache
from training.scenes.vocabulary import Vocabulary


class SceneSamples(Dataset[Sample]):
    """Sample n: image n of a shuffled pass over the cache, augmented, with questions drawn for it."""

    def __init__(self, config: TrainConfig, model: N3DConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.cache = SceneCache(config.data.cache)
        self.size = min(len(self.cache), config.data.limit or len(self.cache))
        if self.size == 0:
            raise ConfigError(
                f"data.cache {config.data.cache}: no shard found; run python -m training.scenes.cache first"
            )
        codec = CameraXYCodec if config.data.centers == "camera_xy" else BoxCodec
        self.maker = SampleMaker(model, tokenizer, config.data.tokens, config.loss.text, config.data.depth, codec)
        # absent objects may be of any class: a word that the scenes never show is to be answered with none too
        self.questions = QuestionMixture(config.data.mixture, Vocabulary())

    def __getitem__(self, number: int) -> Sample:
        epoch, place = divmod(number, self.size)
        index = int(np.random.default_rng((self.config.seed, epoch)).permutation(self.size)[place])
        rng = np.random.default_rng((self.config.seed, epoch, index))
        image = from_cache(self.cache[index])
        if self.config.data.augment:
            image = augment(image, rng)
        image, questions = self.questions.draw(image, self.config.data.questions, rng)
        return self.maker.make(image, questions, self.config.loss.decision)


@dataclass(frozen=True)
class Numbers:
    """Numbers of the samples of each batch, without end: from `first` on, every process its share of each step."""

    first: int
    batch: int
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[list[int]]:
        for start in itertools.count(self.first + self.rank * self.batch, self.world * self.batch):
            yield list(range(start, start + self.batch))


def batches(samples: SceneSamples, model: N3DConfig, pad: int, numbers: Numbers, workers: int) -> Iterator[Batch]:
    """Batches of the numbered samples, made by `workers` processes."""
    loader = DataLoader(
        samples,
        batch_sampler=numbers,  # type: ignore[arg-type]
        collate_fn=lambda items: collate(items, model, pad),
        num_workers=workers,
        worker_init_fn=_one_thread,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


def _one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
