"""Look once, ask many: a frame is encoded once, and every question about it pays only for its own tokens.

model = N3D.load("n3d-tiny")
view = model.look(frame)
view.ground("red mug").boxes
view.ask("How far is the red mug from the blue box?").answer
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from n3d_core.backends.base import Backend
from n3d_core.backends.select import load_backend
from n3d_core.decoding.loop import Sampling, SamplingName
from n3d_core.decoding.scores import Calibration
from n3d_core.depth import DepthLimits
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.image_size import ImageSize
from n3d_core.language import prompts
from n3d_core.language.answer_grammar import MAX_THOUGHT, Spelling, ThoughtThenAnswer
from n3d_core.language.box_grammar import BoxVocabulary, FreeText, Grammar
from n3d_core.language.tokenizer import Tokenizer, load_tokenizer
from n3d_core.models import find_model
from n3d_core.network.config import N3DConfig
from n3d_core.network.generation import GenerationDefaults
from n3d_core.view import View

__all__ = ["N3D", "View"]


class N3D:
    """A loaded model. It may be shared by threads; each `View` is used by one query at a time.

    Args:
        sampling: how replies are decoded; None is greedy.
        ends: ids that end a reply, besides the tokenizer's and the configuration's.
        image_size: that the backend is compiled for; None compiles for each image that comes.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        calibration: Calibration,
        name: str,
        sampling: Sampling | None = None,
        ends: Iterable[int] = (),
        image_size: ImageSize | None = None,
    ) -> None:
        self.backend, self.tokenizer, self.calibration, self.name = backend, tokenizer, calibration, name
        self.config, self.sampling, self.image_size = backend.config, sampling or Sampling(), image_size
        end_ids = frozenset({tokenizer.id_of(prompts.TURN_END), self.config.eos_token_id, *ends})
        self.words = BoxVocabulary(tokenizer, self.config.text.vocab_size, end_ids)

    @classmethod
    def load(
        cls,
        model: str | Path = "n3d-tiny",
        backend: str = "auto",
        sampling: SamplingName = "checkpoint",
        seed: int = 0,
        image_size: ImageSize | None = None,
        threads: int = 0,
    ) -> N3D:
        """Loads a shipped model by name, or a checkpoint folder.

        Args:
            backend: `auto`, `torch`, `onnx` or `tensorrt`.
            sampling: `greedy`: the likeliest token each time; `checkpoint`: the same, but for the numbers of boxes,
                which are chosen as the checkpoint's `generation_config.json` asks for (`box_numbers`); or `released`:
                as the released scripts ask for it (temperature 0.6, top-p 0.95, top-k 10), with the repetition
                penalty of that file. Its end tokens count in all.
            seed: of the sampling.
            image_size: that a compiled backend is made for, and what becomes of images of another size.
            threads: of ONNX Runtime; 0 leaves it to the backend. Torch's are the process's (`torch.set_num_threads`).

        Raises:
            CheckpointError: if the folder is missing, incomplete or damaged.
            BackendError: if the backend cannot run here.
            ConfigError: if a setting has no such value.
        """
        folder = find_model(model)
        config = N3DConfig.from_file(folder / "config.json")
        tokenizer, defaults = load_tokenizer(folder, config), GenerationDefaults.from_folder(folder, config)
        chosen = Sampling.named(sampling, defaults, seed)
        return cls(
            load_backend(folder, backend, threads),
            tokenizer,
            Calibration.from_folder(folder),
            folder.name,
            chosen,
            defaults.eos_token_ids,
            image_size,
        )

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and buffers."""
        return self.backend.memory_bytes

    def warm_up(self) -> float:
        """Answers one query about a plain wall of the size of `image_size` (640x480 if there is none).

        The first query of a process exports or builds what is missing, opens it, takes memory and chooses kernels; a
        robot should not wait for that when somebody asks. Returns milliseconds.
        """
        started = time.perf_counter()
        size = self.image_size or ImageSize(640, 480)
        camera = Camera.from_fov(70.0, size.width, size.height)
        shape = (size.height, size.width)
        wall = Frame(np.full((*shape, 3), 128, np.uint8), np.full(shape, 1.5, np.float32), camera)
        view = self.look(wall)
        view.ground("box")
        view.ask("How tall is the box?", about=[Box3D("box", (0.0, 0.0, 1.5), (0.2, 0.2, 0.2))])
        return (time.perf_counter() - started) * 1000

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self.words)

    def answer_grammar(self, answers: Sequence[str]) -> Grammar:
        """What a second reply may say: a thought and one of some answers, or any text where none are known."""
        if not answers or not self._spelling.spells(answers):
            return FreeText(self.words.ends)
        return ThoughtThenAnswer.answering(self._spelling, answers, MAX_THOUGHT)

    def look(self, frame: Frame, limits: DepthLimits | None = None) -> View:
        """Encodes a frame once.

        Args:
            limits: of depth; pixels out of range and flying pixels are dropped before the cloud is normalised.

        Raises:
            DepthError: if no usable depth is left. ImageError: if the image is too elongated, or of another size than
                the model is compiled for where that is refused.
        """
        return View(self, frame, limits or DepthLimits())
