"""Loading costs at most 1.1 times the weights, measured by the kernel in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from test.core.checkpoints import small_config, write_checkpoint

MEASURE = """
import json, sys, torch
from n3d_core.network.checkpoint import load_network

def status(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))

torch.set_num_threads(1)
with torch.device("meta"):
    torch.nn.Linear(2, 2)  # what torch imports with it is not ours to count
open("/proc/self/clear_refs", "w").write("5")  # forget the peak of the imports
before = status("VmRSS")
network = load_network(sys.argv[1], dtype={"none": None, "float32": torch.float32}[sys.argv[2]])
for parameter in network.parameters():
    parameter.flatten()[::1024].sum()  # a mapped page counts when it is touched
weights = sum(p.numel() * p.element_size() for p in network.parameters())
print(json.dumps({"weights": weights, "peak": status("VmHWM") - before}))
"""


def medium_config() -> N3DConfig:
    """48 million parameters, none of them larger than a tenth."""
    small = small_config()
    text = replace(
        small.text,
        vocab_size=6000,
        hidden_size=768,
        intermediate_size=2560,
        num_hidden_layers=6,
        num_attention_heads=12,
        num_key_value_heads=4,
        mrope_section=(8, 12, 12),
    )
    return replace(small, text=text, vision=replace(small.vision, out_hidden_size=768))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure the peak")
@pytest.mark.parametrize(("stored", "wanted"), [("bfloat16", "float32"), ("float16", "float32"), ("float32", "none")])
def test_the_peak_is_the_weights(tmp_path: Path, stored: str, wanted: str) -> None:
    config = medium_config()
    with torch.device("meta"):
        shapes = {name: p.shape for name, p in N3DNetwork(config).named_parameters()}
    state = {name: torch.full(shape, 0.5, dtype=getattr(torch, stored)) for name, shape in shapes.items()}
    folder = write_checkpoint(tmp_path, config.to_json(), state, parts=3)
    run = subprocess.run([sys.executable, "-c", MEASURE, folder, wanted], capture_output=True, text=True, check=True)
    measured = json.loads(run.stdout)
    assert measured["weights"] == sum(t.numel() for t in state.values()) * 4
    assert measured["peak"] <= 1.1 * measured["weights"], measured
