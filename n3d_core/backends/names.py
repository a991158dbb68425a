"""What a user may call a backend: `auto`, its name, or its name and a precision, as in `onnx:int4`. Imports nothing."""

from __future__ import annotations

COMPILED = "+compile"
"""May end torch's precision: `torch.compile` then fuses the single step, on a GPU."""

PRECISIONS = {
    "torch": tuple(p + end for p in ("fp32", "fp16", "bf16") for end in ("", COMPILED)),
    "onnx": ("fp32", "fp16", "int8", "int4"),
    "tensorrt": ("fp32", "fp16", "bf16", "int8", "int4"),
}
"""Of each backend; without one it takes what is usual where it runs."""

SPELLINGS = ("auto", *(s for name, found in PRECISIONS.items() for s in (name, *(f"{name}:{p}" for p in found))))
