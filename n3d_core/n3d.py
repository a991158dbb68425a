"""Look once, ask many: a frame is encoded once, and every question about it pays only for its own tokens.

model = N3D.load("n3d-tiny")
view = model.look(frame)
view.ground("red mug").boxes
view.ask("How far is the red mug from the blue box?").answer
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from n3d_core.backends.base import Backend
from n3d_core.backends.select import load_backend
from n3d_core.decoding.calibration import Calibration
from n3d_core.decoding.sampling import Sampling, SamplingName
from n3d_core.depth import DepthLimits
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.language import prompts
from n3d_core.language.box_grammar import BoxVocabulary
from n3d_core.language.tokenizer import Tokenizer, load_tokenizer
from n3d_core.models import find_model
from n3d_core.network.config import N3DConfig
from n3d_core.network.generation import GenerationDefaults
from n3d_core.preparation import ImageSize
from n3d_core.results import Listener
from n3d_core.runtime import Runtime, Vocabulary
from n3d_core.view import View

__all__ = ["N3D", "View"]


class N3D:
    """A loaded model. Threads may share it; a `View` runs one query at a time.

    Args:
        sampling: how replies are decoded; None is greedy.
        ends: ids that end a reply, besides the tokenizer's and the configuration's.
        image_size: that the backend is compiled for; None compiles for each image size that comes.
        vocabulary: the words that the model was taught; None where any may be asked for.

    Attributes:
        runtime: what its views take.
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
        vocabulary: Vocabulary | None = None,
    ) -> None:
        config = backend.config
        end_ids = frozenset({tokenizer.id_of(prompts.TURN_END), config.eos_token_id, *ends})
        words = BoxVocabulary(tokenizer, config.text.vocab_size, end_ids)
        chosen = sampling or Sampling()
        self.runtime = Runtime(name, backend, tokenizer, words, calibration, chosen, image_size, vocabulary)

    @classmethod
    def load(
        cls,
        model: str | Path = "n3d-tiny",
        backend: str = "auto",
        sampling: SamplingName = "checkpoint",
        seed: int = 0,
        image_size: ImageSize | None = None,
        threads: int = 0,
        device: str = "",
    ) -> N3D:
        """Loads a shipped model by name, or a checkpoint folder.

        Args:
            backend: `auto`, `torch`, `onnx` or `tensorrt`.
            sampling: `greedy`: the likeliest token each time; `checkpoint`: greedy, except that the numbers of boxes
                are chosen as the checkpoint's `generation_config.json` says (`box_numbers`); or `released`: as the
                released scripts do (temperature 0.6, top-p 0.95, top-k 10), with that file's repetition penalty. The
                file's end tokens always count.
            seed: of the sampling.
            image_size: that a compiled backend is made for, and what to do with images of another size.
            threads: of ONNX Runtime; 0 leaves the choice to it. Torch's are set by `torch.set_num_threads`.
            device: `cpu`, `cuda` or `cuda:1`; empty is the first GPU that torch sees, and the CPU without one.

        Raises:
            CheckpointError: if the folder is missing, incomplete or damaged.
            BackendError: if the backend cannot run here.
            ConfigError: if a setting is unknown.
        """
        folder = find_model(model)
        config = N3DConfig.from_file(folder / "config.json")
        tokenizer, defaults = load_tokenizer(folder, config), GenerationDefaults.from_folder(folder, config)
        chosen = Sampling.named(sampling, defaults, seed)
        return cls(
            load_backend(folder, backend, threads, device),
            tokenizer,
            Calibration.from_folder(folder),
            folder.name,
            chosen,
            defaults.eos_token_ids,
            image_size,
            Vocabulary.from_folder(folder),
        )

    @property
    def name(self) -> str:
        """Of the model."""
        return self.runtime.name

    @property
    def backend(self) -> Backend:
        """What runs the network."""
        return self.runtime.backend

    @property
    def config(self) -> N3DConfig:
        """Of the network."""
        return self.runtime.config

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back."""
        return self.runtime.tokenizer

    @property
    def image_size(self) -> ImageSize | None:
        """Size of images that the backend is compiled for."""
        return self.runtime.image_size

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and buffers."""
        return self.runtime.backend.memory_bytes

    def warm_up(self) -> float:
        """Answers one query about a plain wall of the size of `image_size` (640x480 if there is none).

        The first query of a process exports or builds what is missing, loads it, allocates memory and selects kernels.
        A robot should not wait for that when somebody asks. Returns milliseconds.
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

    def look(self, frame: Frame, limits: DepthLimits | None = None, on_event: Listener | None = None) -> View:
        """Encodes a frame once.

        Args:
            limits: of depth; pixels out of range and flying pixels are dropped before the cloud is normalised.
            on_event: called as each stage begins (`prepare`, `vision`, `prefill`), on this thread.

        Raises:
            DepthError: if no usable depth is left. ImageError: if the image is too elongated, or of another size than
                the model is compiled for where that is rejected.
        """
        return View(self.runtime, frame, limits or DepthLimits(), on_event)
