"""Muon with its orthogonalisation in fp32, for processors that multiply bf16 slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Float32Muon(torch.optim.Muon):
    """`torch.optim.Muon`, whose Newton-Schulz iteration is always in bf16, in fp32.

    A CPU without bf16 instructions multiplies fp32 a hundred times faster; Muon took three quarters of a step of
    n3d-tiny. Optimiser states are interchangeable with torch's.
    """

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
