"""Measures one GPU: `python -m bench.gpu --json`, at most eight minutes.

Needs only a checkout and a `pip install` of the core. Each part runs in its own process, so that one that fails or runs
out of memory does not stop the others; `left_out` lists what did not run, with the reason. Without a GPU the same parts
run on the CPU on n3d-tiny, except those that need a GPU.

* `parity`: torch on the card against torch on the CPU in fp32: image tokens, prefill and steps, relative in norm, for
  the shipped model and two layers of the 3B's widths, in fp32, bf16 and fp16; `equal`: whether n3d-tiny writes the
  same boxes.
* `decode`: single steps of the 3B's and the 7B's shape in bf16, as CUDA graphs and without, against the card's measured
  bandwidth (`ceiling_share`).
* `prefill`: one 640x480 image through the tower, and its prompt through the decoder, of the 3B.
* `question`: both query modes, grounding and a question with its reasoning, next to transformers' `generate`.
* `training`: a step of the 3B with fp32 weights and AdamW under bf16 autocast, checkpointed by layer; with as many
  layers as fit.
* `tensorrt`: engines of n3d-tiny built, run and compared, and their single steps.

The exit code is 1 if a comparison is beyond its limit, else 0.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bench.command import bench_parser, run_bench
from bench.engines import LIMITS, compare
from bench.random_model import released_config
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.cli.bench import Machine, measure_decode, measure_machine
from n3d_core.cli.compile import plan_of_size
from n3d_core.errors import ConfigError, N3DError
from n3d_core.models import find_model
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork, causal_mask, mrope_tables
from n3d_core.network.plan import ImagePlan, text_positions
from n3d_core.network.preprocess import VisionInput

ROOT = Path(__file__).resolve().parents[1]
SIZE = "640x480"
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LONGEST = 7.8  # minutes, for eight with the start and the end
_ROOM = 1.15  # needed besides weights: activations, buffers and the allocator's gaps
_ADAMW_BYTES = 16  # a parameter: weight, gradient and two moments in fp32


class LeftOutError(Exception):
    """A part, or some of it, cannot run here; the message says why."""


def parity(device: str) -> dict[str, Any]:
    """Errors by model and type against the CPU in fp32; without a card, steps of fixed shapes against plain ones."""
    folder = find_model("n3d-tiny")
    tiny = load_network(folder)
    wide = random_network(replace(_released("3b", 2), image_longest_side=224), torch.float32, "cpu")
    found: dict[str, Any] = {"errors": {}, "limits": {name: LIMITS[name] for name in TYPES}}
    for name, network, size in (("n3d-tiny", tiny, SIZE), ("3b-2-layers", wide, "224x168")):
        reference, plan = TorchBackend(network, static_steps=False), plan_of_size(network.config, size)
        if device == "cpu":
            found["errors"][f"{name} fp32"] = compare(TorchBackend(network, static_steps=True), reference, plan)
            continue
        for kind, dtype in TYPES.items():
            ours = TorchBackend(_copied(network, dtype, device))
            found["errors"][f"{name} {kind}"] = compare(ours, reference, plan)
    found["passed"] = all(max(e.values()) < LIMITS[n.split()[-1]] for n, e in found["errors"].items())
    if device != "cpu":
        found["equal"] = _same_boxes(folder)
    return found


def _same_boxes(folder: Path) -> bool:
    from n3d_core.cli.bench import read_frame
    from n3d_core.n3d import N3D

    _, frame, _ = read_frame(None)
    said = [
        N3D.load(folder, "torch:fp32", sampling="greedy", device=device).look(frame).ground("all objects").text
        for device in ("cpu", "cuda")
    ]
    return said[0] == said[1]


def decode(device: str) -> dict[str, Any]:
    """Single steps, by shape, with CUDA graphs and without."""
    machine = measure_machine(device)
    if device == "cpu":
        speed = measure_decode(TorchBackend(load_network(find_model("n3d-tiny"))), machine)
        found = {"machine": asdict(machine), "n3d-tiny": {"plain": asdict(speed)}}
        return found | {key: {"left_out": "no CUDA GPU is visible to torch"} for key in ("3b", "7b")}
    found = {"machine": asdict(machine)}
    for size in ("3b", "7b"):
        try:
            network = random_network(_released(size), torch.bfloat16, device)
            found[size] = _decoded(network, machine)
            del network
        except LeftOutError as error:
            found[size] = {"left_out": str(error)}
        torch.cuda.empty_cache()
    return found


def _decoded(network: N3DNetwork, machine: Machine) -> dict[str, Any]:
    graphs = measure_decode(TorchBackend(network, static_steps=True), machine, steps=40)
    plain = measure_decode(TorchBackend(network, static_steps=False), machine, steps=20)
    return {
        "graphs": asdict(graphs),
        "plain": asdict(plain),
        "graphs_speedup": round(plain.step_ms / graphs.step_ms, 2),
        "long_context": asdict(measure_decode(TorchBackend(network), machine, context=1800, steps=20)),
    }


def prefill(device: str) -> dict[str, Any]:
    """Milliseconds of the tower and of a prompt with the image, and their share of peak arithmetic."""
    if device == "cpu":
        network, name = load_network(find_model("n3d-tiny")), "n3d-tiny"
    else:
        network, name = random_network(_released("3b"), torch.bfloat16, device), "3b"
    backend, plan = TorchBackend(network), plan_of_size(network.config, SIZE)
    image, config = random_image(network.config, plan), network.config
    tokens = backend.encode(image)
    ids = [1, *[config.image_token_id] * plan.tokens, *range(2, 66)]
    positions = text_positions(0, len(ids))
    tower = _median_ms(lambda: backend.encode(image), device)
    prompt = _median_ms(lambda: backend.start().extend(ids, positions, tokens), device)
    weights = sum(p.numel() for p in network.model.layers.parameters())
    return {
        "model": name,
        "patches": plan.patches,
        "prompt_tokens": len(ids),
        "vision_ms": tower,
        "prefill_ms": prompt,
        "prefill_tokens_per_s": round(len(ids) / prompt * 1e3),
        "prefill_tflops": round(2 * weights * len(ids) / prompt / 1e9, 2),
    }


def question(device: str) -> dict[str, Any]:
    """`bench.question`: the whole 3B with random weights on a card, n3d-tiny on a CPU."""
    import importlib.util

    options = ["--backend", "torch", "--repeat", "1", "--json"]
    if device != "cpu":
        _require_free(3.754e9 * 2 * 2 * _ROOM)
        options += ["--random-weights", "3b"]
    if importlib.util.find_spec("transformers") is None:
        options.append("--no-reference")
    ran = subprocess.run(
        [sys.executable, "-m", "bench.question", *options], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if ran.returncode:
        raise LeftOutError((ran.stderr.strip().splitlines() or ["no reason given"])[-1])
    figures = json.loads(ran.stdout.splitlines()[-1])
    wanted = ("grounding_ms", "question_ms", "second_question_ms", "reference_grounding_ms", "reference_question_ms")
    wanted += ("grounding_speedup", "question_speedup", "second_question_speedup", "answers_equal", "vision_runs")
    found = {key: figures[key] for key in ("model", "backend", *wanted) if key in figures}
    if "--no-reference" in options:
        found["left_out"] = "the reference: transformers is not installed (pip install 'n3d-ros[oracle]')"
    return found


def training(device: str) -> dict[str, Any]:
    """Seconds, tokens a second and peak memory of a training step on random images and text."""
    config, batch, length = N3DConfig.from_file(find_model("n3d-tiny") / "config.json"), 1, 512
    if device != "cpu":
        batch, length = (4 if torch.cuda.mem_get_info()[0] > 70e9 else 1), 1024
        config = _that_fits(batch)
    network = random_network(config, torch.float32, device).train().requires_grad_(True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=device != "cpu")
    plan = plan_of_size(config, SIZE)
    length = max(length, plan.tokens + 64)
    seconds, losses = [], []
    for _ in range(4):
        _wait(device)
        started = time.perf_counter()
        losses.append(_training_step(network, optimiser, plan, batch, length, device))
        _wait(device)
        seconds.append(time.perf_counter() - started)
    spent = statistics.median(seconds[1:])
    layers = (config.text.num_hidden_layers, 36 if device != "cpu" else config.text.num_hidden_layers)
    return {
        "model": "3b" if device != "cpu" else "n3d-tiny",
        "layers": list(layers),
        "batch": [batch, length],
        "step_s": round(spent, 4),
        "tokens_per_s": round(batch * length / spent, 1),
        "loss_falls": losses[-1] < losses[0],
        "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated() if device != "cpu" else None,
    }


def _training_step(
    network: N3DNetwork, optimiser: torch.optim.Optimizer, plan: ImagePlan, batch: int, length: int, device: str
) -> float:
    """One step, always on the same random batch; the loss is on the text after the image."""
    from n3d_core.network.model import PlanTensors

    config, rng = network.config, np.random.default_rng(0)
    image = random_image(config, plan)
    patches = torch.from_numpy(image.patches).to(device).expand(batch, -1, -1)
    coordinates = torch.from_numpy(image.coordinates).to(device).expand(batch, -1, -1)
    ids = torch.from_numpy(rng.integers(3, 500, (batch, length))).to(device)
    tables = mrope_tables(config.text, text_positions(0, length))
    cos, sin = (torch.from_numpy(table).to(device)[None, None] for table in tables)
    mask = causal_mask(length, 0, device)
    with torch.autocast(device, torch.bfloat16):
        tokens = network.visual(patches, coordinates, PlanTensors(plan, device))
        embeddings = F.embedding(ids, network.model.embed_tokens.weight)
        x = torch.cat([tokens.to(embeddings.dtype), embeddings[:, plan.tokens :]], dim=1)
        for index, layer in enumerate(network.model.layers):
            x = checkpoint(layer, x, cos, sin, mask, None, index, 0, use_reentrant=False)
        logits = network.logits(network.model.norm(x)[:, plan.tokens : -1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, plan.tokens + 1 :].flatten())
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(loss.detach())


def _that_fits(batch: int) -> N3DConfig:
    """The 3B, with as many decoder layers as this GPU can train."""
    whole = _released("3b")
    with torch.device("meta"):
        network = N3DNetwork(whole)
    layer = sum(p.numel() for p in network.model.layers[0].parameters())
    rest = sum(p.numel() for p in network.parameters()) - layer * whole.text.num_hidden_layers
    free = torch.cuda.mem_get_info()[0] / _ROOM - 5e9 * batch  # logits and activations
    layers = min(whole.text.num_hidden_layers, int((free / _ADAMW_BYTES - rest) // layer))
    if layers < 1:
        raise LeftOutError(f"a step of the 3B needs {(rest + layer) * _ADAMW_BYTES / 1e9:.0f} GB for a single layer")
    return replace(whole, text=replace(whole.text, num_hidden_layers=layers))


def tensorrt(device: str) -> dict[str, Any]:
    """Engines of n3d-tiny: errors against torch, and single steps."""
    if device == "cpu":
        raise LeftOutError("engines need an NVIDIA GPU")
    from bench.engines import check
    from n3d_core.backends.select import load_backend, require_onnx

    require_onnx()

    found: dict[str, Any] = {"errors": {}, "decode": {}}
    folder, machine = find_model("n3d-tiny"), measure_machine(device)
    for precision in ("fp16", "int4"):
        started = time.perf_counter()
        found["errors"][precision] = check(folder, SIZE, precision)
        backend = load_backend(folder, f"tensorrt:{precision}")
        found["decode"][precision] = asdict(measure_decode(backend, machine, steps=40))
        found["decode"][precision]["built_and_run_s"] = round(time.perf_counter() - started, 1)
    found["passed"] = all(max(errors.values()) < LIMITS[name] for name, errors in found["errors"].items())
    return found


PARTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "parity": parity,
    "decode": decode,
    "prefill": prefill,
    "training": training,
    "question": question,
    "tensorrt": tensorrt,
}


def random_network(config: N3DConfig, dtype: torch.dtype, device: str) -> N3DNetwork:
    """A network with random weights, created on its device.

    Raises:
        LeftOutError: if the GPU has too little memory for it.
    """
    with torch.device("meta"):
        network = N3DNetwork(config)
    if device != "cpu":
        _require_free(sum(p.numel() for p in network.parameters()) * dtype.itemsize * _ROOM)
    network = network.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.normal_(0.0, 0.02) if parameter.dim() > 1 else parameter.fill_(1.0)
    return network


def random_image(config: N3DConfig, plan: ImagePlan) -> VisionInput:
    """A random image."""
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((plan.patches, config.vision.patch_values), dtype=np.float32)
    return VisionInput(patches, np.round(rng.standard_normal((plan.patches, 3)) * 500).astype(np.float32), plan)


def _copied(network: N3DNetwork, dtype: torch.dtype, device: str) -> N3DNetwork:
    with torch.device("meta"):
        made = N3DNetwork(network.config)
    state = {n: p.to(device, made.type_of(n, dtype)) for n, p in network.named_parameters()}
    made.load_state_dict(state, assign=True)
    return made.eval().requires_grad_(False)


def _released(size: str, layers: int | None = None) -> N3DConfig:
    words = N3DConfig.from_file(find_model("n3d-tiny") / "config.json")
    return released_config(size, layers, words)


def _require_free(needed: float) -> None:
    free = torch.cuda.mem_get_info()[0]
    if free < needed:
        raise LeftOutError(f"{needed / 1e9:.1f} GB of GPU memory are needed and {free / 1e9:.1f} GB are free")


def _median_ms(work: Callable[[], object], device: str, repeat: int = 8) -> float:
    times = []
    for _ in range(repeat):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append((time.perf_counter() - started) * 1e3)
    return round(statistics.median(times[2:]), 2)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def run_part(name: str) -> dict[str, Any]:
    """A part's figures, or `left_out` with the reason; never raises."""
    try:
        with torch.no_grad() if name != "training" else torch.enable_grad():
            return PARTS[name]("cuda" if torch.cuda.is_available() else "cpu")
    except LeftOutError as error:
        return {"left_out": str(error)}
    except torch.OutOfMemoryError as error:
        return {"left_out": f"out of GPU memory ({str(error).splitlines()[0]})"}
    except N3DError as error:
        return {"left_out": str(error)}
    except Exception as error:  # whatever a GPU or driver does, still measure the other parts
        return {"left_out": f"{type(error).__name__}: {error}"}


def measure(parts: Sequence[str], minutes: float) -> dict[str, Any]:
    """All figures; each part runs in its own process, none after `minutes` have passed."""
    began = time.monotonic()
    figures: dict[str, Any] = {"device": _device(), "torch": torch.__version__, "cuda": torch.version.cuda}
    figures["python"] = sys.version.split()[0]
    for name in parts:
        left = 60 * minutes - (time.monotonic() - began)
        print(f"{name} ({left:.0f} s are left)", file=sys.stderr, flush=True)
        figures[name] = _in_a_process(name, left) if left > 5 else {"left_out": "no time was left"}
    figures["left_out"] = _left_out(figures, "")
    # A comparison that did not finish has not passed.
    figures["passed"] = all(figures[name].get("passed", name != "parity") for name in parts)
    figures["seconds"] = round(time.monotonic() - began, 1)
    return figures


def _in_a_process(name: str, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="n3d-gpu-") as place:
        command = [sys.executable, "-m", "bench.gpu", "--part", name]
        environment = {**os.environ, "TMPDIR": place}
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=seconds, check=False
            )
            return dict(json.loads(ran.stdout.splitlines()[-1]))
        except subprocess.TimeoutExpired:
            return {"left_out": f"it was stopped after {seconds:.0f} s: no time was left"}
        except (IndexError, ValueError):
            said = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
            return {"left_out": f"its process ended with exit code {ran.returncode}: {said}"}


def _device() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    card = torch.cuda.get_device_properties(0)
    return f"{card.name}, {card.total_memory / 1e9:.0f} GB, sm_{card.major}{card.minor}"


def _left_out(figures: dict[str, Any], path: str) -> dict[str, str]:
    """Every nested `left_out`, by its path."""
    found = {}
    for name, value in figures.items():
        place = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            if isinstance(value.get("left_out"), str):
                found[place] = value["left_out"]
            found |= _left_out(value, place)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table and, last, the figures as one JSON line."""
    parser = bench_parser(__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to run, in this order (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=LONGEST, help="time for all of them (default: %(default)s)")
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)

    def figures(options: argparse.Namespace) -> dict[str, Any]:
        if options.part is not None:
            return run_part(options.part)
        parts = [name for name in options.parts.split(",") if name]
        if unknown := [name for name in parts if name not in PARTS]:
            raise ConfigError(f"--parts: unknown {', '.join(unknown)}; there are {', '.join(PARTS)}")
        return measure(parts, options.minutes)

    one = parser.parse_args(arguments).part is not None
    return run_bench(figures, parser, arguments, status=lambda found: 0 if one or found["passed"] else 1)


if __name__ == "__main__":
    sys.exit(main())
