"""Trains N3D-VLM from one YAML file.

    python -m training.train training/configs/tiny_localisation.yaml [key=value ...]
    torchrun --nproc-per-node 8 -m training.train training/configs/3b_localisation.yaml

Checkpoints are whole or absent; a killed training goes on from the last one as if it had never stopped.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch

from n3d_core.errors import N3DError
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.checkpoint import INDEX, WEIGHTS, load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from training.data.stream import Numbers, SceneSamples, batches
from training.learn.checkpoints import RESUME, State, export, load_state, save_state, save_tensors
from training.learn.config import TrainConfig
from training.learn.errors import TrainingError
from training.learn.lora import add_adapters
from training.learn.model import Batch, TrainingModel
from training.learn.optim import MovingAverage, Optimiser, initialise, parameter_count
from training.learn.parallel import Processes, fastest_precision, half_precision, sharded_like, whole
from training.learn.progress import Progress
from training.scenes.catalogue import CLASSES
from training.scenes.colors import COLORS


class Trainer:
    """Model, optimiser, average and step of one training, in one process or in one of many."""

    def __init__(self, config: TrainConfig, processes: Processes) -> None:
        if config.precision == "auto":
            config = replace(config, precision=fastest_precision(processes.device))
        self.config, self.processes = config, processes
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.init = Path(config.init)
        self.model_config = N3DConfig.from_file(self.init / "config.json")
        self.tokenizer = Tokenizer(self.init / "tokenizer.json")
        self.samples = SceneSamples(config, self.model_config, self.tokenizer)
        self.model = self._model().to(processes.device)
        if config.compiled:
            self.model.compile_blocks()
        self.parallel = processes.spread(self.model, config.sharding, config.precision, self.model.open_blocks)
        self.step = 0
        if config.start_from:
            self._load_weights(Path(config.start_from))
        self.optimiser = Optimiser(self.model, config.optim, config.steps, config.precision)
        self.average = MovingAverage(self.model, config.optim.ema)
        if (self.output / RESUME).exists():
            self._resume(self.output / RESUME)

    def _model(self) -> TrainingModel:
        config = self.config
        loaded = (self.init / WEIGHTS).exists() or (self.init / INDEX).exists()
        if loaded:
            frozen = torch.bfloat16 if config.train == "lora" and config.precision == "bf16" else torch.float32
            network = load_network(self.init, frozen).train().requires_grad_(True)
        else:
            network = N3DNetwork(self.model_config)
            initialise(network, self.model_config.text.num_hidden_layers, torch.Generator().manual_seed(config.seed))
        if config.train == "lora":
            add_adapters(network, config.lora)
        maker = self.samples.maker
        words = (self._word_ids(CLASSES), self._word_ids(COLORS)) if config.loss.dense > 0 else None
        model = TrainingModel(
            network,
            list(maker.bin_of),
            list(maker.fraction_of),
            (config.loss.sigma, config.loss.sigma_z),
            words,
            config.loss.dense,
        )
        if loaded and maker.bin_of:
            torch.nn.init.zeros_(model.number_map)  # it is part of the embedding table already
        if config.checkpointing:
            model.checkpoint_blocks()
        return model

    def _word_ids(self, names: tuple[str, ...]) -> list[list[int]]:
        """Ids of the tokens of each name, at the beginning of a phrase and inside it."""
        return [self.tokenizer.encode(n) + self.tokenizer.encode(f" {n}") for n in names]

    def run(self) -> None:
        """Trains to the last step."""
        config = self.config
        stream = self._batches()
        progress = Progress(self.output, config.steps, config.tensorboard) if self.processes.first else None
        self._say(
            f"{parameter_count(self.model.network.parameters()) / 1e6:.2f} M parameters in {config.precision}, "
            f"{self.samples.size} images"
        )
        images = config.batch * config.accumulate * self.processes.world
        while self.step < config.steps:
            metrics, tokens = self._step(stream)
            self.step += 1
            self.average.update(self.model, self.step)
            if progress:
                progress.add(metrics, images, tokens * self.processes.world)
                if self.step % config.log_every == 0:
                    progress.report(self.step)
            if self.step % config.save_every == 0 or self.step == config.steps:
                self.save()
                self._validate(progress)

    def _step(self, stream: Iterator[Batch]) -> tuple[dict[str, float], int]:
        """One optimiser step; the mean metrics of its micro-batches and its number of tokens."""
        sums: dict[str, float] = {}
        tokens = 0
        for _ in range(self.config.accumulate):
            batch = self._next(stream)
            for key, value in self._backward(batch).items():
                sums[key] = sums.get(key, 0.0) + value / self.config.accumulate
            tokens += batch.ids.numel()
        return sums | {"grad_norm": self.optimiser.step(self.step)}, tokens

    def _batches(self) -> Iterator[Batch]:
        config, processes = self.config, self.processes
        first = self.step * config.batch * config.accumulate * processes.world
        numbers = Numbers(first, config.batch, processes.rank, processes.world)
        pad = self.tokenizer.id_of("<|endoftext|>")
        return batches(self.samples, self.model_config, pad, numbers, config.data.workers)

    def _next(self, stream: Iterator[Batch]) -> Batch:
        try:
            return next(stream).to(self.processes.device)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(
                f"a loader process was killed at step {self.step} (out of memory?): run again to go on from the last "
                f"checkpoint, with fewer data.workers or data.tokens ({error})"
            ) from error

    def _backward(self, batch: Batch) -> dict[str, float]:
        with half_precision(self.processes.device, self.config.precision == "bf16"):
            out = self.parallel(batch)
        values = dict(zip(out, torch.stack([v.detach().float() for v in out.values()]).tolist(), strict=True))
        values = self.processes.mean(values)
        if not math.isfinite(values["loss"]):
            path = self.output / f"nan-batch-{self.step}-{self.processes.rank}.safetensors"
            save_tensors(path, vars(batch))
            raise TrainingError(
                f"the loss is {values['loss']} at step {self.step}: the batch is saved as {path} and the last good "
                f"checkpoint kept; lower optim.lr and optim.matrix_lr, or leave the batch out with another seed"
            )
        (out["loss"] / self.config.accumulate).backward()
        return values

    def save(self) -> None:
        """Writes the (averaged) model in released form, and all state to go on from."""
        trained = {n: whole(p) for n, p in self.model.named_parameters() if p.requires_grad}
        average = {n: whole(p) for n, p in self.average.average.items()}
        state = State(self.step, trained, average, self.optimiser.tensors())
        frozen = {n: whole(p) for n, p in self.model.named_parameters() if not p.requires_grad}
        if self.processes.first:
            weights = self.model.baked({**frozen, **state.best})
            export(self.output / "model", self.model_config, weights, self.init, self.step)
            save_state(self.output / RESUME, state, asdict(self.config))
        self.processes.wait()

    def _resume(self, path: Path) -> None:
        state = self._load_weights(path, averaged=False)
        self.step = state.step
        for name, own in self.average.average.items():
            own.copy_(sharded_like(state.average.get(name, state.model[name]), own))
        self.optimiser.load_tensors(dict(state.optimiser))
        self._say(f"resumed {path} at step {self.step}")

    def _load_weights(self, path: Path, averaged: bool = True) -> State:
        """Takes the weights of a state: the averaged ones, or those that the optimiser works on."""
        state = load_state(path)
        source = state.best if averaged else state.model
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                continue
            if name not in source or source[name].shape != parameter.shape:
                raise TrainingError(
                    f"{path}: does not hold {name} of shape {list(parameter.shape)}: it belongs to another model or "
                    "kind of training; use a new output folder"
                )
            parameter.data.copy_(sharded_like(source[name], parameter))
        return state

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


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML file, see training/configs")
    parser.add_argument("overrides", nargs="*", help="key=value, for example optim.lr=1e-4")
    args = parser.parse_args()
    try:
        config = TrainConfig.from_yaml(args.config, args.overrides)
        processes = Processes.start()
        try:
            Trainer(config, processes).run()
        finally:
            processes.stop()
    except N3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
