"""The training loop: steps, metrics, checkpoints and resuming."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from n3d_core.language.tokenizer import load_tokenizer
from n3d_core.network.checkpoint import WEIGHTS
from training.data.lengths import measure
from training.data.stream import Numbers, SceneSamples, batches
from training.learn.build import build_model, model_config
from training.learn.checkpoints import RESUME, Piece, ResumeFile, TrainingError, check_tokenizer, export, write_pieces
from training.learn.config import TrainConfig
from training.learn.model import Batch, step_totals
from training.learn.optim import MovingAverage, Optimiser
from training.learn.parallel import Processes, fastest_precision, fill
from training.learn.progress import Progress
from training.learn.released import released_pieces
from training.learn.resume import check_resumable, resume_metadata


class Trainer:
    """Model, optimiser, average and step of one training, in one process or in one of many.

    Raises:
        N3DError: if config, data, checkpoint or resumed state are unusable, or do not match.
    """

    def __init__(self, config: TrainConfig, processes: Processes) -> None:
        if config.precision == "auto":
            config = replace(config, precision=fastest_precision(processes.device))
        self.config, self.processes = config, processes
        self.output, self.init = Path(config.output), Path(config.init)
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"output {self.output}: not a folder, and none can be made ({error.strerror})"
            ) from error
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.model_config = model_config(self.init, config.pe_order, config.points)
        self.tokenizer = load_tokenizer(self.init, self.model_config)
        for weights in (self.init / WEIGHTS, Path(config.start_from), self.output / RESUME):
            check_tokenizer(weights, self.init)
        self.samples = SceneSamples(config, self.model_config, self.tokenizer)
        self.model = build_model(config, self.model_config, self.tokenizer, self.samples.maker, processes)
        replicated = processes.world > 1 and config.sharding == "ddp"
        self.parallel = DistributedDataParallel(self.model) if replicated else self.model
        self.step = 0
        if config.start_from:
            self._load_weights(ResumeFile(Path(config.start_from)))
        self.optimiser = Optimiser(self.model, config.optim, config.steps, config.precision)
        self.average = MovingAverage(self.model, config.optim.ema)
        if (self.output / RESUME).exists():
            self._resume(ResumeFile(self.output / RESUME))

    @property
    def images_per_step(self) -> int:
        """Over all processes."""
        return self.config.batch * self.config.accumulate * self.processes.world

    def run(self) -> None:
        """Trains to the last step."""
        config = self.config
        self._introduce()
        stream = self._batches()
        progress = Progress(self.output, config.steps, config.tensorboard) if self.processes.first else None
        while self.step < config.steps:
            metrics, tokens = self._step(stream)
            self.step += 1
            self.average.update(self.model, self.step)
            if progress:
                progress.add(metrics, self.images_per_step, tokens * self.processes.world)
                if self.step % config.log_every == 0:
                    progress.report(self.step)
            if self.step % config.save_every == 0 or self.step == config.steps:
                self.save()
                self._validate(progress)

    def _introduce(self) -> None:
        config, world = self.config, self.processes.world
        parameters = sum(p.numel() for p in self.model.network.parameters())
        self._say(
            f"{parameters / 1e6:.2f} M parameters in {config.precision}, pe_order {self.model_config.pe_order}, "
            f"points {self.model_config.points}, "
            f"{self.samples.size} images, {self.images_per_step} a step"
        )
        if config.processes and config.processes != world:
            meant = config.batch * config.accumulate * config.processes
            parts, rest = divmod(meant, config.batch * world)
            advice = f"accumulate={parts} keeps it" if parts and not rest else "set batch and accumulate for it"
            self._say(
                f"this config is for {config.processes} processes and {world} run: a step has {self.images_per_step} "
                f"images instead of {meant}; {advice}"
            )
        if self.processes.first:
            lengths = measure(self.samples)
            warnings = (*self.samples.size_warnings(), *lengths.warnings())
            for line in (lengths.summary(), *(f"warning: {text}" for text in warnings)):
                self._say(line)
            if lengths.left_out == lengths.drawn:
                raise TrainingError(
                    f"data.tokens: {config.data.tokens} leaves no room for any question: see the warnings"
                )

    def _step(self, stream: Iterator[Batch]) -> tuple[dict[str, float], int]:
        """One optimiser step; its metrics and its number of tokens in this process."""
        config, processes = self.config, self.processes
        parts = [self._next(stream) for _ in range(config.accumulate)]
        totals = processes.sums(step_totals([batch.totals() for batch in parts]))
        totals = {name: value / processes.world for name, value in totals.items()}  # gradients are averaged
        outs = []
        for number, batch in enumerate(parts):
            now = config.gradient_sync == "micro_batch" or number == config.accumulate - 1
            with processes.exchanging(self.parallel, now):
                outs.append(self._backward(batch.to(processes.device), totals))
        values = [[float(v) for v in torch.stack([*out.values()]).tolist()] for out in outs]
        metrics = dict(zip(outs[0], map(sum, zip(*values, strict=True)), strict=True))
        metrics = {name: value / processes.world for name, value in processes.sums(metrics).items()}
        if not math.isfinite(metrics["loss"]):
            self._refuse(
                "the loss", metrics["loss"], [b for b, v in zip(parts, values, strict=True) if not math.isfinite(v[0])]
            )
        norm = self.optimiser.step(self.step)
        if not math.isfinite(norm):
            self._refuse("the gradient's norm", norm, parts)
        return metrics | {"grad_norm": norm}, sum(batch.ids.numel() for batch in parts)

    def _backward(self, batch: Batch, totals: Mapping[str, float]) -> dict[str, Tensor]:
        half = torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")
        with half:
            out: dict[str, Tensor] = self.parallel(batch, totals)
        out["loss"].backward()
        return {name: value.detach().float() for name, value in out.items()}

    def _refuse(self, what: str, value: float, batches: list[Batch]) -> None:
        saved = ""
        for batch in batches[:1]:
            path = self.output / f"nan-batch-{self.step}-{self.processes.rank}.safetensors"
            with suppress(TrainingError):  # a full disk: the loss is what must be said
                write_pieces(path, {name: Piece.of(v) for name, v in vars(batch).items() if isinstance(v, Tensor)}, {})
                saved = f"the batch is saved as {path}, and "
        raise TrainingError(
            f"{what} is {value} at step {self.step}: {saved}the last good checkpoint is kept; lower optim.lr and "
            "optim.matrix_lr, and run again to resume from it"
        )

    def _batches(self) -> Iterator[Batch]:
        config, processes = self.config, self.processes
        first = self.step * self.images_per_step
        numbers = Numbers(first, config.batch, processes.rank, processes.world)
        pad = self.tokenizer.id_of("<|endoftext|>")
        return batches(self.samples, self.model_config, pad, numbers, config.data.workers)

    def _next(self, stream: Iterator[Batch]) -> Batch:
        try:
            return next(stream)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(
                f"a loader process was killed at step {self.step} (out of memory?): run again to resume from the last "
                f"checkpoint, with fewer data.workers or data.tokens ({error})"
            ) from error

    def save(self) -> None:
        """Writes the (averaged) model in released form, and the state to resume from."""
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        best = trained | self.average.average
        pieces = released_pieces(self.model, best)
        export(self.output / "model", self.model_config, pieces, self.init, self.processes)
        state = {f"model/{n}": Piece.of(p) for n, p in trained.items()}
        state |= {f"average/{n}": Piece.of(p) for n, p in self.average.average.items()}
        state |= {f"optimiser/{n}": Piece.of(p) for n, p in self.optimiser.tensors().items()}
        write_pieces(self.output / RESUME, state, resume_metadata(self._about(), self.config), self.processes)
        self.processes.wait()

    def _about(self) -> dict[str, Any]:
        """What determines the order of the data, apart from the config and the step."""
        return {
            "step": self.step,
            "images_per_step": self.images_per_step,
            "images": self.samples.sizes,
            "sizes": [list(size) for size in self.samples.image_sizes],
            "run": self.samples.run,
        }

    def _resume(self, state: ResumeFile) -> None:
        for line in check_resumable(state, self.config, self._about()):
            self._say(line)
        self._load_weights(state, averaged=False)
        self.step = state.step
        for name, own in self.average.average.items():
            kind = "average" if f"average/{name}" in state.names else "model"
            fill(own, state.read(f"{kind}/{name}"))
        self.optimiser.load_tensors(lambda name: state.read(f"optimiser/{name}"))
        self._say(f"resumed {state.path} at step {self.step}")

    def _load_weights(self, state: ResumeFile, averaged: bool = True) -> None:
        """Loads the weights of a state: the averaged ones if there are any, or those that the optimiser works on."""
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                continue
            stored = f"average/{name}" if averaged and f"average/{name}" in state.names else f"model/{name}"
            if state.shape(stored) != list(parameter.shape):
                raise TrainingError(
                    f"{state.path}: does not contain {name} of shape {list(parameter.shape)}: it is from another model "
                    "or kind of training; use a new output folder"
                )
            fill(parameter, state.read(stored))

    def _validate(self, progress: Progress | None) -> None:
        every = self.config.validation.every
        if every and self.step % every == 0:
            if progress:
                from training.learn.validation import validate

                found = validate(self.output / "model", self.config.validation)
                self._say(" ".join(f"{k} {v:.3f}" for k, v in found.items()))
                progress.write({"step": self.step, **found})
            self.processes.wait()

    def _say(self, text: str) -> None:
        if self.processes.first:
            print(text, file=sys.stderr, flush=True)
