"""The optimiser of a training: Muon for hidden matrices, AdamW for the rest, one schedule, and the moving average."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from n3d_core.errors import ConfigError
from training.learn.config import OptimConfig
from training.learn.parallel import fill, whole

_BY_NAME = StateDictOptions(flatten_optimizer_state_dict=True)


class Optimiser:
    """One or two torch optimisers behind one schedule: linear warm-up, the peak, then a cosine to `min_lr_share`.

    Args:
        steps: of the whole training.
        precision: of its products, `fp32` or `bf16`; Muon's follow it.
    """

    def __init__(self, model: nn.Module, config: OptimConfig, steps: int, precision: str = "fp32") -> None:
        self.config, self.steps, self.model = config, steps, model
        matrices, others = _split(model, config.name)
        decay = config.weight_decay
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            groups = self._groups(matrices, config.matrix_lr)
            muon = torch.optim.Muon if precision == "bf16" else Float32Muon
            self.parts.append(muon(groups, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
        self.parts.append(torch.optim.AdamW(self._groups(others, config.lr), betas=(0.9, 0.95), weight_decay=decay))
        self.parameters = [*matrices.values(), *others.values()]

    def _groups(self, parameters: dict[str, nn.Parameter], peak: float) -> list[dict[str, Any]]:
        """One group, or two if the vision tower has its own learning rate; `peak` is each group's highest rate."""
        scale = self.config.vision_lr_scale
        if scale == 1.0:
            return [{"params": list(parameters.values()), "peak": peak, "lr": peak}]
        tower = [p for n, p in parameters.items() if ".visual." in n and ".merger." not in n]
        rest = [p for n, p in parameters.items() if ".visual." not in n or ".merger." in n]
        pairs = ((tower, peak * scale), (rest, peak))
        return [{"params": own, "peak": rate, "lr": rate} for own, rate in pairs if own]

    def rate(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        if step < self.config.warmup_steps:
            return (step + 1) / self.config.warmup_steps
        decaying = self.config.decay_share * (self.steps - self.config.warmup_steps)
        progress = (step - (self.steps - decaying)) / max(1.0, decaying)
        cosine = (1 + math.cos(math.pi * min(1.0, max(0.0, progress)))) / 2
        return self.config.min_lr_share + (1 - self.config.min_lr_share) * cosine

    def step(self, step: int) -> float:
        """Clips, updates, clears the gradients; returns their norm before clipping.

        A norm that is not finite changes nothing.
        """
        norm = float(whole(nn.utils.clip_grad_norm_(self.parameters, self.config.clip)))
        for optimiser in self.parts if math.isfinite(norm) else ():
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * self.rate(step)
            optimiser.step()
        for optimiser in self.parts:
            optimiser.zero_grad(set_to_none=True)
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """All state by parameter name; of sharded parameters, this process's shards."""
        state = get_optimizer_state_dict(self.model, self.parts, options=_BY_NAME)
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}

    def load_tensors(self, read: Callable[[str], Tensor]) -> None:
        """Restores the whole state that `tensors` returned; `read` returns a tensor by name."""
        state = get_optimizer_state_dict(self.model, self.parts, options=_BY_NAME)
        for name, own in state.items():
            if isinstance(own, Tensor):
                fill(own, read(name))
        set_optimizer_state_dict(self.model, self.parts, state, options=_BY_NAME)


class Float32Muon(torch.optim.Muon):
    """`torch.optim.Muon` with its Newton-Schulz iteration in fp32: a CPU without bf16 instructions multiplies bf16 a
    hundred times slower. Optimiser states are interchangeable with torch's."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """See `torch.optim.Muon.step`; its scaling is that of `adjust_lr_fn="match_rms_adamw"`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        lr, decay, momentum = group["lr"], group["weight_decay"], group["momentum"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = gradient.lerp(buffer, momentum) if group["nesterov"] else buffer
        direction = orthogonalised(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        parameter.mul_(1 - lr * decay)
        parameter.add_(direction, alpha=-lr * 0.2 * max(parameter.shape) ** 0.5)


def orthogonalised(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """The nearest matrix with singular values near one, by Newton-Schulz iterations in the matrix's own type."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    out = matrix.T if tall else matrix
    out = out / out.norm().clamp(min=eps)
    for _ in range(steps):
        gram = out @ out.T
        out = torch.addmm(out, torch.addmm(gram, gram, gram, beta=b, alpha=c), out, beta=a)
    return out.T if tall else out


class MovingAverage:
    """Exponential moving average of the trained parameters; its decay warms up. A decay of 0 takes no memory."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad and decay > 0}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Moves the average towards the model."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in model.named_parameters():
            if name in self.average:
                self.average[name].lerp_(parameter, 1 - decay)


def _split(model: nn.Module, name: str) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Hidden matrices (for Muon, none for AdamW) and the rest, by name."""
    if name not in ("muon", "adamw"):
        raise ConfigError(f"optim.name must be 'muon' or 'adamw'; got {name!r}")
    matrices: dict[str, nn.Parameter] = {}
    others: dict[str, nn.Parameter] = {}
    for key, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        hidden = parameter.ndim == 2 and not any(
            w in key for w in ("embed_tokens", "lm_head", "dense", "pointer", "number_map")
        )
        (matrices if name == "muon" and hidden else others)[key] = parameter
    return matrices, others


def fresh_weights(network: nn.Module, layers: int, rng: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Names and first values: fan-in scaled matrices, smaller where a block writes to the residual stream, small
    embeddings."""
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    return (_fresh(name, shape, layers, rng) for name, shape in shapes.items())


def _fresh(name: str, shape: tuple[int, ...], layers: int, rng: torch.Generator) -> tuple[str, Tensor]:
    if len(shape) < 2:
        return name, torch.full(shape, 0.0 if name.endswith("bias") else 1.0)
    std = math.prod(shape[1:]) ** -0.5
    if "embed_tokens" in name or "lm_head" in name:
        std = 0.02
    elif name.endswith(("o_proj.weight", "down_proj.weight", "attn.proj.weight")):
        std /= math.sqrt(2 * layers)
    return name, torch.empty(shape).normal_(std=std, generator=rng)
