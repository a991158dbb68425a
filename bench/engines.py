"""Compares TensorRT's engines with torch on this GPU: `python -m bench.engines MODEL --json`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.command import bench_parser, run_bench
from n3d_core.backends.base import Backend
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.cli.compile import plan_of_size
from n3d_core.errors import BackendError
from n3d_core.models import find_model
from n3d_core.network.checkpoint import load_network
from n3d_core.network.plan import ImagePlan, text_positions
from n3d_core.network.preprocess import VisionInput

LIMITS = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 6e-2, "int8": 8e-2, "int4": 0.4}  # relative, in norm


def check(folder: Path, size: str, precision: str, ahead: Path | None = None) -> dict[str, float]:
    """Relative errors of image tokens, prefill and steps on random input.

    Raises:
        BackendError: if there is no GPU. EngineError: if an engine cannot be built or loaded.
    """
    from n3d_core.backends.export.precision import Precision
    from n3d_core.backends.tensorrt.api import TensorRT, local_architecture
    from n3d_core.backends.tensorrt.run import TensorRTBackend
    from n3d_core.backends.tensorrt.supply import EngineStore

    target = local_architecture()
    if target is None:
        raise BackendError("engines need an NVIDIA GPU, but no CUDA GPU is visible to torch: run this on the robot")
    engines = EngineStore(folder, TensorRT.installed(), target, Precision.named(precision, "fp16"), ahead)
    ours: Backend = TensorRTBackend(engines)
    reference = TorchBackend(load_network(folder, torch.float32, "cuda"))
    plan = plan_of_size(reference.config, size)
    return compare(ours, reference, plan)


def compare(ours: Backend, reference: TorchBackend, plan: ImagePlan, steps: int = 20) -> dict[str, float]:
    """Both backends on the same random image and tokens; the image tokens of `reference` enter both decoders."""
    rng, config = np.random.default_rng(0), reference.config
    patches = rng.standard_normal((plan.patches, config.vision.patch_values), dtype=np.float32)
    coordinates = np.round(rng.standard_normal((plan.patches, 3)) * 500).astype(np.float32)
    image = VisionInput(patches, coordinates, plan)
    expected = reference.encode(image).float().cpu().numpy()
    errors = {"vision": _error(np.asarray(ours.encode(image)), expected)}
    ids = [1, 2, *[config.image_token_id] * plan.tokens, *rng.integers(3, 200, 60).tolist()]
    positions = text_positions(0, len(ids))
    sequences = [ours.start(), reference.start()]
    tokens = [_as_taken(expected, backend) for backend in (ours, reference)]
    first = [s.extend(ids, positions, image=given, rows=8) for s, given in zip(sequences, tokens, strict=True)]
    errors["prefill"] = _error(*first)
    stream = rng.integers(3, 200, steps).tolist()
    rows = [
        np.concatenate([s.extend([t], np.full((3, 1), len(ids) + n)) for n, t in enumerate(stream)]) for s in sequences
    ]
    errors["steps"] = _error(*rows)
    return errors


def _as_taken(tokens: np.ndarray, backend: Backend) -> Any:
    """Image tokens in the form that a backend's sequences take."""
    return torch.from_numpy(tokens).to(backend.device) if isinstance(backend, TorchBackend) else tokens


def _error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 if all errors are within the precision's limit, else 1."""
    parser = bench_parser(__doc__)
    parser.add_argument("model", help="a shipped model's name or a checkpoint folder")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--engines", type=Path, help="a folder written by `n3d compile`")

    def figures(options: argparse.Namespace) -> dict[str, Any]:
        errors = check(find_model(options.model), options.size, options.precision, options.engines)
        limit = LIMITS[options.precision]
        return {"errors": errors, "limit": limit, "ok": max(errors.values()) < limit}

    return run_bench(figures, parser, arguments, status=lambda found: 0 if found["ok"] else 1)


if __name__ == "__main__":
    raise SystemExit(main())
