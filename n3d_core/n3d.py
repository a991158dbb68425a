"""Look once, ask many: a frame is encoded once; every question about it costs only its own tokens.

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
from n3d_core.decoding.sampling import GenerationDefaults, Sampling, SamplingName
from n3d_core.depth import DepthLimits
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.language import prompts
from n3d_core.language.box_grammar import BoxVocabulary
from n3d_core.language.tokenizer import Tokenizer, load_tokenizer
from n3d_core.models import find_model
from n3d_core.network.config import N3DConfig
from n3d_core.preparation import ImageSize
from n3d_core.results import Listener
from n3d_core.runtime import Runtime, Vocabulary
from n3d_core.view import View

__all__ = ["N3D", "View"]


class N3D:
    """A loaded model. Threads may share it; a `View` runs one query at a time.

    Args:
        sampling: how replies are decoded; greedy if None.
        ends: token ids that end a reply, in addition to those of the tokenizer and the config.
        image_size: the size the backend is compiled for; if None, it is compiled for every size that arrives.
        vocabulary: the words the model was trained on; None if it can be asked for anything.

    Attributes:
        runtime: everything its views share.
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
                are chosen as `box_numbers` in the checkpoint's `generation_config.json` says; or `released`: as in the
                released scripts (temperature 0.6, top-p 0.95, top-k 10), with the repetition penalty of that file. The
                end tokens of the file apply in every mode.
            seed: random seed for sampling.
            image_size: the size to compile for, and what to do with images of another size.
            threads: for ONNX Runtime; 0 lets it decide. For torch, call `torch.set_num_threads`.
            device: `cpu`, `cuda` or `cuda:1`; if empty, the first GPU visible to torch, or the CPU if there is none.

        Raises:
            CheckpointError: if the folder is missing, incomplete or damaged.
            BackendError: if the backend cannot run on this machine.
            ConfigError: if a setting has an unknown value.
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
        """Name of the model."""
        return self.runtime.name

    @property
    def backend(self) -> Backend:
        """The backend that runs the network."""
        return self.runtime.backend

    @property
    def config(self) -> N3DConfig:
        """Configuration of the network."""
        return self.runtime.config

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the checkpoint."""
        return self.runtime.tokenizer

    @property
    def image_size(self) -> ImageSize | None:
        """The image size the backend is compiled for."""
        return self.runtime.image_size

    @property
    def purpose(self) -> str:
        """What a model with a fixed vocabulary is for, in one sentence; empty if it can be asked for anything."""
        known = self.runtime.vocabulary
        if known is None:
            return ""
        return (
            f"{self.name} knows {len(known.classes)} classes of rendered scenes and is not meant for real images: "
            "these need a released checkpoint"
        )

    @property
    def memory_bytes(self) -> int:
        """Memory taken by weights and buffers, in bytes."""
        return self.runtime.backend.memory_bytes

    def warm_up(self) -> float:
        """Runs one query on a blank wall of `image_size` (640x480 if there is none); returns milliseconds.

        The first query of a process exports or builds missing engines, loads them, allocates memory and selects
        kernels. Do that at startup, so that no user has to wait for it.
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
            limits: depth limits; pixels out of range and flying pixels are dropped before the cloud is normalised.
            on_event: called as each stage begins (`prepare`, `vision`, `prefill`), on this thread.

        Raises:
            DepthError: if no usable depth is left.
            ImageError: if the image is too elongated, or its size differs from the compiled one and that is an error.
        """
        return View(self.runtime, frame, limits or DepthLimits(), on_event)
