"""Trains N3D-VLM from one YAML file: `python -m training.train training/configs/tiny_localisation.yaml [key=value ...]`.

Checkpoints are whole or absent; a killed training goes on from the last one as if it had never stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from n3d_core.errors import ConfigError, N3DError
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.model.checkpoint import WEIGHTS, load_network, save_checkpoint
from n3d_core.model.config import N3DConfig
from n3d_core.model.network import N3DNetwork
from n3d_core.model.plan import image_plan
from training.config import TrainConfig
from training.data import SceneSamples, batches
from training.model import Batch, TrainingModel
from training.optim import MovingAverage, Optimiser, initialise, parameter_count
from training.progress import Progress
from training.scenes.catalogue import CLASSES
from training.scenes.colors import COLORS

RESUME = "resume"


class Trainer:
    """Model, optimiser, average and step of one training."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        init = Path(config.init)
        self.model_config = N3DConfig.from_file(init / "config.json")
        self.tokenizer = Tokenizer(init / "tokenizer.json")
        self.model = self._model(init)
        self.optimiser = Optimiser(self.model, config.optim, config.steps)
        self.average = MovingAverage(self.model, config.optim.ema)
        self.step = 0
        if config.start_from:
            self._load_weights(Path(config.start_from), "average")
            self.average = MovingAverage(self.model, config.optim.ema)
        self._resume()

    def _model(self, init: Path) -> TrainingModel:
        if (init / WEIGHTS).exists():
            network = load_network(init).train().requires_grad_(True)
        else:
            network = N3DNetwork(self.model_config)
            initialise(network, self.model_config.text.num_hidden_layers, torch.Generator().manual_seed(self.config.seed))
        side = self.model_config.vision.patch_size
        samples = SceneSamples(self.config, self.model_config, self.tokenizer)
        height, width = samples.cache[0].depth_mm.shape
        self.samples = samples
        numbers = [self.tokenizer.encode(str(v))[0] for v in range(1000)]
        words = (self._word_ids(CLASSES), self._word_ids(COLORS)) if self.config.loss.dense > 0 else None
        plan = image_plan(self.model_config, height // side, width // side)
        model = TrainingModel(network, plan, numbers, self.config.loss.sigma, words, self.config.loss.dense)
        if (init / WEIGHTS).exists():
            torch.nn.init.zeros_(model.number_map)  # it is part of the embedding table already
        return model

    def _word_ids(self, names: tuple[str, ...]) -> list[list[int]]:
        """Ids of the tokens of each name, at the beginning of a phrase and inside it."""
        return [self.tokenizer.encode(n) + self.tokenizer.encode(f" {n}") for n in names]

    def run(self) -> None:
        """Trains to the last step."""
        stream = batches(
            self.samples,
            self.model_config,
            self.tokenizer.id_of("<|endoftext|>"),
            self.step * self.config.batch * self.config.accumulate,
            self.config.data.workers,
        )
        progress = Progress(self.output / "metrics.jsonl", self.config.steps)
        print(f"{parameter_count(self.model.network.parameters()) / 1e6:.2f} M parameters, {self.samples.size} images", file=sys.stderr)
        while self.step < self.config.steps:
            metrics, tokens = {}, 0
            for _ in range(self.config.accumulate):
                batch = next(stream)
                metrics = self._backward(batch)
                tokens += batch.ids.numel()
            metrics["grad_norm"] = self.optimiser.step(self.step)
            self.step += 1
            self.average.update(self.model, self.step)
            progress.add(metrics, self.config.batch * self.config.accumulate, tokens)
            if self.step % self.config.log_every == 0:
                progress.report(self.step)
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self.save()

    def _backward(self, batch: Batch) -> dict[str, float]:
        out = self.model(batch)
        loss = out["loss"]
        if not math.isfinite(loss.item()):
            path = self.output / f"nan-batch-{self.step}.safetensors"
            save_file({k: v.contiguous() for k, v in vars(batch).items()}, str(path))
            raise ConfigError(
                f"the loss is {loss.item()} at step {self.step}: the batch is saved as {path} and the last good "
                f"checkpoint kept; lower optim.lr and optim.matrix_lr"
            )
        (loss / self.config.accumulate).backward()
        return {k: v.item() for k, v in out.items()}

    def save(self) -> None:
        """Writes the averaged model in released form, and all state to go on from; the old state goes last."""
        raw = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.average.average[name])
            exported = self.model.baked()
            for name, parameter in self.model.named_parameters():
                parameter.copy_(raw[name])
        export = self.output / "model"
        save_checkpoint(export, self.model_config, exported, {"step": str(self.step)})
        shutil.copyfile(Path(self.config.init) / "tokenizer.json", export / "tokenizer.json")
        state = {f"model/{k}": v for k, v in raw.items()}
        state |= {f"average/{k}": v for k, v in self.average.average.items()}
        state |= {f"optimiser/{k}": v for k, v in self.optimiser.tensors().items()}
        part = self.output / f"{RESUME}.part"
        save_file(state, str(part), metadata={"step": str(self.step), "config": json.dumps(asdict(self.config))})
        os.replace(part, self.output / f"{RESUME}.safetensors")

    def _resume(self) -> None:
        path = self.output / f"{RESUME}.safetensors"
        if not path.exists():
            return
        from safetensors import safe_open

        with safe_open(str(path), framework="pt") as file:
            self.step = int(file.metadata()["step"])
        state = self._load_weights(path, "model")
        for name in self.average.average:
            self.average.average[name] = state[f"average/{name}"]
        self.optimiser.load_tensors({k.removeprefix("optimiser/"): v for k, v in state.items() if k.startswith("optimiser/")})
        print(f"resumed {path} at step {self.step}", file=sys.stderr)

    def _load_weights(self, path: Path, kind: str) -> dict[str, torch.Tensor]:
        """Takes the `model` or the `average` weights of a resume file; returns all that it holds."""
        try:
            state = load_file(str(path))
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"{path}: damaged or missing ({error}): restore it, or start anew in another output folder") from error
        for name, parameter in self.model.named_parameters():
            value = state.get(f"{kind}/{name}")
            if value is None or value.shape != parameter.shape:
                raise ConfigError(f"{path}: does not hold {name} of shape {list(parameter.shape)}; it belongs to another model: use a new output folder")
            parameter.data.copy_(value)
        return state


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="YAML file, see training/configs")
    parser.add_argument("overrides", nargs="*", help="key=value, for example optim.lr=1e-4")
    args = parser.parse_args()
    try:
        Trainer(TrainConfig.from_yaml(args.config, args.overrides)).run()
    except N3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
