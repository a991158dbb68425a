"""Numbers that are none: an overflow must be an error that names it, never a confident answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import BackendError

_FP16 = ("fp16", "float16")


def require_finite(logits: NDArray[np.float32], backend: str, compute: str) -> None:
    """Refuses logits that hold an infinity or NaN.

    One overflow anywhere in the network reaches the logits of every later token, since each attends to all before it.

    Args:
        backend: its name, for the message.
        compute: the type that matrix products are computed in.

    Raises:
        BackendError: says what to do.
    """
    if np.isfinite(logits).all():
        return
    if compute in _FP16:
        raise BackendError(
            f"{backend}: values of this network pass the 65,504 that fp16 holds, and its answers would be noise: use "
            "fp32, or on a GPU bf16 (as in --backend torch:bf16)"
        )
    raise BackendError(
        f"{backend}: the network gives logits that are not finite in {compute}: its weights or the image's points hold "
        "infinities or NaN; look at the checkpoint, and run `n3d parity` where golden vectors are at hand"
    )
