"""An endless, reproducible stream of samples: sample n is a pure function of the data and the seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from n3d_core.errors import ConfigError, optional
from n3d_core.language.structured import BoxCodec
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from n3d_core.network.preprocess import canvas_size
from training.data.sequences import LabelledImage, Question, SampleMaker, TrainingSample, augment, from_cache
from training.learn.codecs import CameraXYCodec
from training.learn.config import DataConfig, TrainConfig
from training.learn.model import Batch, collate
from training.questions.mixture import QuestionMixture
from training.scenes.cache import SceneCache, parse_size
from training.scenes.vocabulary import Vocabulary

DEFAULT_SIZE = (640, 480)
"""Width and height of lifted images if neither `data.size` nor a cache gives them."""


class Source(Protocol):
    """One kind of training images."""

    scenes: Any

    def image(self, index: int) -> LabelledImage:
        """The image of a scene."""

    def draw(self, image: LabelledImage, count: int, rng: np.random.Generator) -> tuple[LabelledImage, list[Question]]:
        """The image, perhaps with a box drawn on it, and up to `count` questions about it."""


class CacheSource:
    """Rendered scenes from a cache."""

    def __init__(self, scenes: SceneCache, mixture: dict[str, float]) -> None:
        self.scenes = scenes
        # absent objects may be of any class: words that the scenes never show must also get an empty reply
        self.questions = QuestionMixture(mixture, Vocabulary())

    def image(self, index: int) -> LabelledImage:
        """See `Source`."""
        return from_cache(self.scenes[index])

    def draw(self, image: LabelledImage, count: int, rng: np.random.Generator) -> tuple[LabelledImage, list[Question]]:
        """See `Source`."""
        return self.questions.draw(image, count, rng)


class SceneSamples(Dataset[TrainingSample]):
    """Sample n: the next image of a shuffled pass over its source, augmented, with questions.

    Attributes:
        sizes: number of images of each source.
        image_sizes: width and height of the images of each source.

    Raises:
        ConfigError: if the images of a source have an aspect ratio that the model does not take.
        N3DError: if a source is missing or damaged.
    """

    def __init__(self, config: TrainConfig, model: N3DConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.sources = _sources(config.data)
        self.image_sizes: list[tuple[int, int]] = [source.scenes.size for source in self.sources]
        self._check_ratios(model)
        self.sizes = [min(len(s.scenes), config.data.limit or len(s.scenes)) for s in self.sources]
        self.turns = Turns(_shares(config.data), config.seed)
        # images of a batch must have one size; two batches in a row, so that two processes take images of one size
        self.run = 2 * config.batch if config.data.caches else 1
        codec = CameraXYCodec if config.data.centers == "camera_xy" else BoxCodec
        self.maker = SampleMaker(
            model,
            tokenizer,
            config.data.tokens,
            config.loss.text,
            config.data.depth,
            codec,
            config.loss.depth,
            config.loss.dense > 0,
        )
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}

    @property
    def size(self) -> int:
        """The number of images."""
        return sum(self.sizes)

    @property
    def cache(self) -> Any:
        """The scenes of the first source."""
        return self.sources[0].scenes

    def _check_ratios(self, model: N3DConfig) -> None:
        known = ", ".join(f"{w}:{h}" for w, h in model.ratios)
        for folder, (width, height) in zip(self._folders, self.image_sizes, strict=True):
            if canvas_size(width, height, model) != (width, height):
                own = Fraction(width, height)
                raise ConfigError(
                    f"{folder}: its images are {width}x{height}, but the model of {self.config.init} takes the aspect "
                    f"ratios {known}: make them in one of these, or add {own.numerator}:{own.denominator} to "
                    "n3d.ratios in its config.json, to train it for them"
                )

    def size_warnings(self) -> list[str]:
        """One line for each source whose images are smaller than the model sees them."""
        longest = self.maker.config.image_longest_side
        return [
            f"{folder}: its images are {width}x{height} and are enlarged for the model of {self.config.init}, which "
            f"sees {longest} pixels along the longer side: render them, or set data.size, that large"
            for folder, (width, height) in zip(self._folders, self.image_sizes, strict=True)
            if max(width, height) < longest
        ]

    @property
    def _folders(self) -> list[str]:
        data = self.config.data
        return [*([data.cache] if data.cache else data.caches), *data.lifted]

    def __getitem__(self, number: int) -> TrainingSample:
        image, questions = self.drawn(number)
        return self.maker.make(image, questions, self.config.loss.decision)

    def drawn(self, number: int) -> tuple[LabelledImage, list[Question]]:
        """The image of a sample and the questions drawn for it, more than may fit."""
        turn, rest = divmod(number, self.run)
        which, own = self.turns[turn]
        own = own * self.run + rest
        source = self.sources[which]
        epoch, place = divmod(own, self.sizes[which])
        index = int(self._order(which, epoch)[place])
        rng = np.random.default_rng((self.config.seed, epoch, index, which))
        image = source.image(index)
        if self.config.data.augment:
            image = _augmented(image, rng)
        return source.draw(image, self.config.data.questions, rng)

    def _order(self, which: int, epoch: int) -> NDArray[np.int64]:
        """The images of a source in the order of a pass; kept until the next pass."""
        kept, order = self._orders.get(which, (-1, np.empty(0, np.int64)))
        if kept != epoch:
            order = np.random.default_rng((self.config.seed, epoch, 0, which)).permutation(self.sizes[which])
            self._orders[which] = epoch, order
        return order


class Turns:
    """The source of sample n, and how many of its samples precede it.

    Each block of 1000 samples has its share of each source exactly, in a shuffled order.

    Args:
        shares: of the sources; they sum to 1.
        seed: of the shuffle.
    """

    BLOCK = 1000

    def __init__(self, shares: list[float], seed: int) -> None:
        self.counts = np.diff(np.round(np.cumsum([0.0, *shares]) * self.BLOCK).astype(int))
        self.seed = seed
        self._kept: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __getitem__(self, number: int) -> tuple[int, int]:
        if len(self.counts) == 1:
            return 0, number
        block, place = divmod(number, self.BLOCK)
        if self._kept[0] != block:
            turns = np.repeat(np.arange(len(self.counts)), self.counts)
            self._kept = block, np.random.default_rng((self.seed, block)).permutation(turns)
        turns = self._kept[1]
        which = int(turns[place])
        return which, block * int(self.counts[which]) + int(np.count_nonzero(turns[:place] == which))


def _augmented(image: LabelledImage, rng: np.random.Generator) -> LabelledImage:
    """The augmented image, or the original if the crop leaves nothing to ask for."""
    other = augment(image, rng)
    return other if any(o.groundable for o in other.objects) else image


def _shares(data: DataConfig) -> list[float]:
    """Shares of the sources in the order of `_sources`."""
    lifted = list(data.lifted.values())
    return [1 - sum(lifted), *lifted] if data.cache else [*data.caches.values(), *lifted]


def _sources(data: DataConfig) -> list[Source]:
    """The cache, if any, and the lifted folders, all with one image size.

    Raises:
        CacheError, ShardError: if a folder is empty or damaged.
        ConfigError: if `data.size` is not the cache's.
        MissingDependencyError: if a package for reading lifted shards is not installed.
    """
    sources: list[Source] = []
    size = parse_size(data.size) if data.size else None
    if data.cache:
        cache = SceneCache(data.cache)
        width, height = cache.size
        if size not in (None, cache.size):
            raise ConfigError(f"data.size is {data.size} and the images of {data.cache} {width}x{height}: leave it out")
        size = cache.size
        sources.append(CacheSource(cache, data.mixture))
    for folder in data.caches:
        sources.append(CacheSource(SceneCache(folder), data.mixture))
    if data.lifted:
        with optional("lifted shards need more packages", "'n3d-ros[lift]'"):
            from training.data.lifted import LiftedScenes, LiftedSource
        for folder in data.lifted:
            scenes = LiftedScenes(folder, *(size or DEFAULT_SIZE))
            sources.append(LiftedSource(scenes, data.mixture, data.referring))
    return sources


@dataclass(frozen=True)
class Numbers:
    """Endless sample numbers of each batch, starting at `first`; every process gets its share of each step."""

    first: int
    batch: int
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[list[int]]:
        for start in itertools.count(self.first + self.rank * self.batch, self.world * self.batch):
            yield list(range(start, start + self.batch))


def batches(samples: SceneSamples, model: N3DConfig, pad: int, numbers: Numbers, workers: int) -> Iterator[Batch]:
    """Batches of the numbered samples, made by `workers` processes."""
    length = samples.config.data.tokens if samples.config.compiled else 0  # one length compiles once
    step = 128 if torch.cuda.is_available() else 1  # few lengths, as FlexAttention compiles for each
    loader = DataLoader(
        samples,
        batch_sampler=numbers,  # type: ignore[arg-type]
        collate_fn=lambda items: collate(items, model, pad, length, step),
        num_workers=workers,
        worker_init_fn=_one_thread,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


def _one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
