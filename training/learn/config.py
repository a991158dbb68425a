"""The one YAML file that describes a training, as frozen dataclasses; unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from n3d_core.errors import ConfigError
from training.entry.yaml_file import Strict, read_settings


@dataclass(frozen=True)
class DataConfig(Strict):
    """The sources of samples and their mixture.

    Attributes:
        cache: folder of a scene cache (`python -m training.scenes.cache`); empty for lifted data only.
        caches: instead of it, folders of scene caches and the share of the images that each gives; each batch comes
            from one of them, so they may be of different sizes. Shares sum to 1, lifted ones included.
        lifted: folders of lifted shards (`python -m training.lift.run`) and the share of the images that each gives;
            the cache gives the rest, and without one they sum to 1.
        size: WIDTHxHEIGHT that lifted images are cropped and scaled to; empty for the cache's, or 640x480 without one.
        tokens: length of a packed sequence: questions are added to an image until it is full.
        questions: number drawn for each image; those that fit are used.
        mixture: weight of each kind of question, see `training.questions.mixture`.
        augment: flips, crops and colour jitter.
        depth: whether the model sees the points; without, their encoding is the same everywhere (ablation).
        centers: `image_uv`, or `camera_xy` for an ablation of the language.
        workers: loader processes.
        limit: images of each folder that are used; 0 for all.
        referring: share of the questions about a lifted image that are its own referring phrases, where it has some.

    Raises:
        ConfigError: if a value is out of its range.
    """

    cache: str = ""
    caches: dict[str, float] = field(default_factory=dict)
    lifted: dict[str, float] = field(default_factory=dict)
    size: str = ""
    tokens: int = 384
    questions: int = 16
    mixture: dict[str, float] = field(
        default_factory=lambda: {"detect": 1.0, "label": 4.0, "class": 2.0, "absent": 2.0}
    )
    augment: bool = True
    depth: bool = True
    centers: str = "image_uv"
    workers: int = 1
    limit: int = 0
    referring: float = 0.25

    def __post_init__(self) -> None:
        if self.centers not in ("image_uv", "camera_xy"):
            raise ConfigError(f"data.centers must be image_uv or camera_xy; got {self.centers!r}")
        if not 0 <= self.referring <= 1:
            raise ConfigError(f"data.referring must be a share from 0 to 1; got {self.referring}")
        self._check_shares()

    def _check_shares(self) -> None:
        if self.cache and self.caches:
            raise ConfigError("data: cache and caches are both set: remove one")
        if not self.cache and not self.lifted and not self.caches:
            raise ConfigError(
                "data: neither cache nor lifted is set; set one to a folder of scenes or of lifted shards"
            )
        for folder, share in (self.caches | self.lifted).items():
            if not 0.001 <= share <= 1:
                raise ConfigError(f"data: the share of {folder} must be from 0.001 to 1; got {share!r}")
        total = sum((*self.caches.values(), *self.lifted.values()))
        if self.cache and total > 0.9995:
            raise ConfigError(f"data.lifted: the shares sum to {total:g} and leave nothing for data.cache")
        if not self.cache and abs(total - 1) > 0.0005:
            raise ConfigError(f"data.lifted: the shares must sum to 1 without data.cache; got {total:g}")


@dataclass(frozen=True)
class OptimConfig(Strict):
    """The optimiser.

    `muon` orthogonalises the updates of hidden matrices, scaled to the size of AdamW's (unscaled ones grow the weights
    until attention saturates and nothing more is learnt); the rest is AdamW.

    Attributes:
        decay_share: share of the steps, at the end, over which the rate decays from its peak to `min_lr_share` of it; 1
            decays from the warm-up on.
    """

    name: str = "muon"
    matrix_lr: float = 2e-3
    lr: float = 1e-3
    vision_lr_scale: float = 1.0
    weight_decay: float = 0.01
    warmup_steps: int = 100
    min_lr_share: float = 0.05
    decay_share: float = 1.0
    clip: float = 1.0
    ema: float = 0.999


@dataclass(frozen=True)
class LossConfig(Strict):
    """Weights of the losses.

    Attributes:
        sigma: standard deviation, in bins, of the softened targets of bins; 0 for hard ones. `sigma_z` is for z.
        depth: weight of z among the numbers of a box.
        dense: weight of the auxiliary heads; 0 leaves them out.
        decision: weight of the choice between one more box and the end, and of the comparisons and conclusions of a
            thought; a number weighs 1.
        text: weight of every other word of a thought or an answer.
    """

    sigma: float = 4.0
    sigma_z: float = 4.0
    depth: float = 1.0
    dense: float = 1.0
    decision: float = 2.0
    text: float = 0.3


@dataclass(frozen=True)
class LoraConfig(Strict):
    """Low-rank adapters, used where `train` is `lora`.

    Attributes:
        rank, alpha, dropout: of the adapters; their product is scaled by `alpha / rank`.
        targets: names of the linear layers that get adapters.
        full: prefixes of the names of parameters that are trained in full as well.
    """

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.0
    targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    full: list[str] = field(default_factory=lambda: ["visual.merger"])


@dataclass(frozen=True)
class ValidationConfig(Strict):
    """Evaluation during training.

    Attributes:
        every: steps between two evaluations, a multiple of `save_every`; 0 for none.
        scenes: validation scenes, rendered on the spot.
        folder: a frame folder with truth instead; empty for scenes.
        groundings, questions: asked of each frame.
    """

    every: int = 0
    scenes: int = 24
    folder: str = ""
    groundings: int = 4
    questions: int = 0


@dataclass(frozen=True)
class TrainConfig(Strict):
    """A training.

    Attributes:
        init: checkpoint folder to start from: weights where it has them, else only its config and tokenizer.
        output: folder of checkpoints, metrics and the exported model.
        start_from: `resume.safetensors` of an earlier stage: its averaged weights, the auxiliary heads among them, with
            a fresh optimiser; empty for none.
        steps: optimiser steps of the whole schedule.
        batch: images of a micro-batch of one process; `accumulate` micro-batches make a step.
        processes: number of processes that `batch` and `accumulate` were chosen for; with another number, the training
            says how many images a step has. 0 for any.
        pe_order: the patch that a point's encoding is added to: `aligned`, its own; `row_major`, as in the released
            N3D-VLM; `auto` keeps what the checkpoint says, and takes `row_major` for a released N3D-VLM and `aligned`
            for everything else, such as Qwen2.5-VL.
        points: how points become coordinates of patches: `valid`, from measured pixels only; `mean`, as in the released
            N3D-VLM; `auto` as for `pe_order`.
        precision: `fp32`, or `bf16` for the forward and backward passes (trained parameters and the optimiser stay
            fp32; with `lora`, frozen ones are bf16); `auto` takes the faster one on this device.
        compiled: whether to compile the blocks (`torch.compile`; takes a minute at the start).
        sharding: with several processes, `fsdp` shards parameters and optimiser; `ddp` replicates them, which is faster
            for small models.
        gradient_sync: when processes exchange gradients: once a `step`, or after each `micro_batch`, which is slower
            and under `fsdp` saves each process the memory of a whole set of gradients.
        checkpointing: whether to recompute the blocks' activations in the backward pass, to save memory.
        train: `full` or `lora`.
        threads: threads of a process on a CPU; 0 keeps torch's default.
        tensorboard: whether to write metrics for TensorBoard too.

    Raises:
        ConfigError: if a value is out of its range.
    """

    init: str
    output: str
    data: DataConfig
    start_from: str = ""
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    steps: int = 1000
    batch: int = 8
    accumulate: int = 1
    processes: int = 0
    pe_order: str = "auto"
    points: str = "auto"
    seed: int = 0
    precision: str = "fp32"
    compiled: bool = False
    sharding: str = "fsdp"
    gradient_sync: str = "step"
    checkpointing: bool = False
    train: str = "full"
    threads: int = 0
    log_every: int = 20
    save_every: int = 200
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            ("precision", ("fp32", "bf16", "auto")),
            ("train", ("full", "lora")),
            ("sharding", ("fsdp", "ddp")),
            ("gradient_sync", ("step", "micro_batch")),
            ("pe_order", ("auto", "aligned", "row_major")),
            ("points", ("auto", "valid", "mean")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        for name in ("steps", "batch", "accumulate", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0; got {self.seed}")
        if self.validation.every % self.save_every:
            raise ConfigError(
                f"validation.every must be a multiple of save_every ({self.save_every}); got {self.validation.every}"
            )

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
        """Reads a YAML file; `overrides` are `a.b=value` strings."""
        return read_settings(cls, path, overrides)
