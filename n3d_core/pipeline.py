"""Look once, ask many: a frame is encoded once, and every question about it pays only for its own tokens.

model = N3D.load("n3d-tiny")
view = model.look(frame)
view.ground("red mug").boxes
view.ask("How far is the red mug from the blue box?").answer
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from n3d_core.backends.base import Backend
from n3d_core.backends.select import load_backend
from n3d_core.decoding import Decoder, Limits, Sampling, SamplingName, Work
from n3d_core.depth import DepthLimits, depth_agreement
from n3d_core.errors import ConfigError, QueryError, TextTooLongError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.image_size import ImageSize
from n3d_core.language import prompts
from n3d_core.language.answer_grammar import MAX_THOUGHT, Spelling, ThoughtThenAnswer, split_reply
from n3d_core.language.conditions import condition_names, first_sentence, mentioned, numbered_names, scene_condition
from n3d_core.language.grammar import BoxGrammar, BoxVocabulary, FreeText, Grammar
from n3d_core.language.structured import serialise
from n3d_core.language.tokenizer import Tokenizer, load_tokenizer
from n3d_core.model.config import N3DConfig
from n3d_core.model.generation import GenerationDefaults
from n3d_core.model.plan import text_positions
from n3d_core.models import find_model
from n3d_core.preparation import prepare
from n3d_core.reading import BoxReader
from n3d_core.reasoning.audit import audit
from n3d_core.reasoning.solving import answer_by_geometry, answers_to
from n3d_core.results import Answer, AnswerFrom, Grounding, Listener, StageStarted, TextDecoded
from n3d_core.scores import Calibration


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
        sampling: SamplingName = "greedy",
        seed: int = 0,
        image_size: ImageSize | None = None,
    ) -> N3D:
        """Loads a shipped model by name, or a checkpoint folder.

        Args:
            backend: `auto`, `torch`, `onnx` or `tensorrt`.
            sampling: `greedy`, or `released`: as the released scripts ask for it (temperature 0.6, top-p 0.95, top-k
                10), with the repetition penalty of the checkpoint's `generation_config.json`. The end tokens of that
                file count in both.
            seed: of the sampling.
            image_size: that a compiled backend is made for, and what becomes of images of another size.

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
            load_backend(folder, backend),
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


class View:
    """An encoded frame, and the kept prefix of every question about it."""

    def __init__(self, model: N3D, frame: Frame, limits: DepthLimits) -> None:
        self.model, self.frame = model, frame
        self.times: dict[str, float] = {}
        self._lock = threading.Lock()
        with _timed(self.times, "prepare"):
            prepared = prepare(frame, limits, model.config, model.image_size)
        self.codec, self.depth_report = prepared.codec, prepared.depth
        with _timed(self.times, "vision"):
            encoded = model.backend.encode(prepared.image)
        with _timed(self.times, "prefill"):
            self._sequence = model.backend.start()
            self._prefix = model.tokenizer.encode(prompts.PREFIX)
            self._begin(encoded, prepared.image.plan)

    def _begin(self, encoded: Any, plan: Any) -> None:
        start = len(self._prefix)
        image_positions, self._position = plan.mrope_positions(start)
        positions = np.concatenate([text_positions(0, start), image_positions], axis=1)
        self._prefix = self._prefix + [self.model.config.image_token_id] * plan.tokens
        self._sequence.extend(self._prefix, positions, image=encoded)

    def ground(
        self,
        text: str,
        *,
        on_event: Listener | None = None,
        cancel: Any = None,
        deadline: float | None = None,
    ) -> Grounding:
        """Finds what a text names.

        Args:
            text: a noun phrase, several separated by `;`, or `all objects`.
            on_event: told of stages, boxes and text as they come, on this thread.
            cancel: asked between steps; True ends the query with `QueryCancelledError`.
            deadline: `time.monotonic()` seconds; later the query ends with `QueryTimeoutError`.

        Raises:
            EmptyTextError, TextTooLongError, QueryCancelledError, QueryTimeoutError, BackendError.
        """
        phrases = prompts.phrases(text)
        limits = Limits(cancel=cancel, deadline=deadline)
        times: dict[str, float] = {}
        work = Work()
        with self._lock, _timed(times, "decode"):
            _tell(on_event, StageStarted("ground"))
            readers = [self._read_boxes(prompts.grounding_prompt(p), limits, work, on_event) for p in phrases]
        boxes = [box for reader in readers for box in reader.boxes]
        reply = serialise([code for reader in readers for code in reader.codes])
        return Grounding(
            reply,
            boxes,
            self.times | times,
            self.depth_report.valid,
            self._warnings(boxes),
            work.steps,
            work.tokens,
            work.forced,
        )

    def ask(
        self,
        question: str,
        *,
        about: list[Box3D] | None = None,
        answer_from: AnswerFrom = "audited",
        on_event: Listener | None = None,
        cancel: Any = None,
        deadline: float | None = None,
    ) -> Answer:
        """Answers a spatial question: grounds what it speaks of, then reasons over the boxes.

        Args:
            about: boxes found before, which the question names as `{index}_{label}` or by label; None grounds first.
            answer_from: `model` says what the model says, `geometry` what the boxes give, `audited` the model's answer
                with the value of the boxes beside it where they contradict it.
            on_event, cancel, deadline: as in `ground`.

        Raises:
            As `ground`; ConfigError for an unknown `answer_from`.
        """
        if answer_from not in ("model", "geometry", "audited"):
            raise ConfigError(f"answer_from is {answer_from!r}: 'model', 'geometry' or 'audited' is wanted")
        question = prompts.checked_text(question)
        limits = Limits(cancel=cancel, deadline=deadline)
        times: dict[str, float] = {}
        work = Work()
        with self._lock:
            with _timed(times, "ground"):
                boxes, names = self._spoken_of(question, about, limits, work, on_event)
            with _timed(times, "reason"):
                _tell(on_event, StageStarted("reason"))
                reply = self._reason(question, boxes, names, limits, work, on_event)
        reasoning, said = split_reply(reply)
        with _timed(times, "audit"):
            finding = audit(question, boxes, reasoning, said, names)
        return Answer(
            question,
            _geometric_answer(question, boxes, names) if answer_from == "geometry" else said,
            reasoning,
            finding.verdict,
            finding.corrected if answer_from == "audited" else "",
            finding.reason,
            boxes,
            self.times | times,
            self.depth_report.valid,
            self._warnings(boxes),
            reply,
            work.steps,
            work.tokens,
            work.forced,
            work.drafted,
        )

    def _spoken_of(
        self, question: str, about: list[Box3D] | None, limits: Limits, work: Work, on_event: Listener | None
    ) -> tuple[list[Box3D], list[str]]:
        """The boxes that a question is about, and what its second pass calls them.

        Of boxes that were found before, those whose number stands in the question; all where none does.
        """
        if about is not None:
            names = [prompts.harmless(name) for name in numbered_names(about)]
            chosen = mentioned(question, names) or range(len(about))
            return [about[i] for i in chosen], [names[i] for i in chosen]
        _tell(on_event, StageStarted("ground"))
        boxes = self._read_boxes(prompts.locate_prompt(question), limits, work, on_event).boxes
        return boxes, condition_names(boxes)

    def _reason(
        self,
        question: str,
        boxes: list[Box3D],
        names: list[str],
        limits: Limits,
        work: Work,
        on_event: Listener | None,
    ) -> str:
        prompt = first_sentence(question) + scene_condition(boxes, self.frame.camera, names)
        grammar = self.model.answer_grammar(answers_to(question, boxes, names))
        ids: list[int] = []
        for token in self._tokens(prompt, grammar, limits, work, draft=True):
            if token.id not in self.model.words.ends:
                ids.append(token.id)
                if on_event is not None:
                    on_event(TextDecoded(self.model.tokenizer.decode(ids)))
        return self.model.tokenizer.decode(ids)

    def _read_boxes(self, prompt: str, limits: Limits, work: Work, on_event: Listener | None) -> BoxReader:
        reader = BoxReader(self.model.words, self.codec, self.model.calibration, on_event)
        for token in self._tokens(prompt, BoxGrammar(self.model.words), limits, work):
            reader.add(token)
        reader.finish()
        return reader

    def _tokens(self, prompt: str, grammar: Grammar, limits: Limits, work: Work, draft: bool = False) -> Iterator[Any]:
        """The reply to a prompt behind the kept prefix."""
        ids = self.model.tokenizer.encode(f"{prompts.VISION_END}{prompt}{prompts.SUFFIX}")
        room = self.model.config.text.max_position_embeddings - len(self._prefix) - len(ids)
        if room < 16:
            raise TextTooLongError(
                f"the query needs {len(ids)} tokens besides the image's {len(self._prefix)}: the model takes "
                f"{self.model.config.text.max_position_embeddings} in all; shorten the text"
            )
        self._sequence.truncate(len(self._prefix))
        logits = self._sequence.extend(ids, text_positions(self._position, len(ids)))[0]
        limits = Limits(min(limits.tokens, room), limits.cancel, limits.deadline)
        decoder = Decoder(self.model.sampling, draft=draft)
        return decoder.reply(
            self._sequence, logits, self._position + len(ids), grammar, self._prefix + ids, limits, work
        )

    def _warnings(self, boxes: list[Box3D]) -> list[str]:
        found = list(self.depth_report.warnings)
        for box in boxes:
            if box.saturated:
                found.append(
                    f"{box.label}: {', '.join(box.saturated)} at an end of its scale; the true value may lie beyond"
                )
            agreement = depth_agreement(self.frame, box)
            if not agreement.agrees and np.isfinite(agreement.offset):
                found.append(
                    f"{box.label}: measured depth is {abs(agreement.offset):.2f} m "
                    f"{'behind' if agreement.offset > 0 else 'before'} the box"
                )
        return found


def _geometric_answer(question: str, boxes: list[Box3D], names: list[str]) -> str:
    """What the boxes alone say; empty where geometry cannot read the question (the audit says why)."""
    try:
        return answer_by_geometry(question, boxes, names).text
    except QueryError:
        return ""


def _tell(listener: Listener | None, event: Any) -> None:
    if listener is not None:
        listener(event)


@contextmanager
def _timed(times: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        times[stage] = times.get(stage, 0.0) + (time.perf_counter() - start) * 1000
