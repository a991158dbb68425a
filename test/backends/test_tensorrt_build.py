"""The real TensorRT for RTX builds real engines here, without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from n3d_core.backends.tensorrt.engine import build_engine, decoder_profiles
from n3d_core.cli.compile import Compilation
from n3d_core.errors import ConfigError, EngineError
from n3d_core.models import find_model
from n3d_core.network.config import N3DConfig, TextConfig, VisionConfig

from .conftest import write_checkpoint

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'n3d-ros[tensorrt]'")


def real_3b(layers: int) -> N3DConfig:
    """The widths of the released 3B, with few layers and a short vocabulary."""
    vision = replace(VisionConfig(), depth=layers, fullatt_block_indexes=(layers - 1,))
    return N3DConfig(vision, replace(TextConfig(), num_hidden_layers=layers, vocab_size=4096), 4000, 4001, 4002, 4003)


def test_engines_and_their_manifest(checkpoint: Path, tmp_path: Path) -> None:
    manifest = Compilation(checkpoint, "96x80", "fp16", lower=False, capacity=512).engines(tmp_path, ["sm_89"])
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
    assert manifest["tensorrt"]["name"] == "tensorrt_rtx"
    assert manifest["patch_grid"] == [10, 12]
    names = [Path(e["file"]).name for e in manifest["engines"]]
    assert names == ["vision-fp16-sm_89.engine", "decoder-fp16-sm_89.engine"]
    for entry in manifest["engines"]:
        assert (tmp_path / entry["file"]).stat().st_size == entry["bytes"] > 100_000
        assert entry["layers"] > 50
        assert len(entry["sha256"]) == len(entry["graph_sha256"]) == 64
        assert entry["peak_memory_bytes"] > 1e8
    chunk, step = manifest["engines"][1]["profiles"]
    assert chunk["shapes"]["embeddings"] == [[1, 2, 128], [1, 512, 128], [1, 512, 128]]
    assert step["shapes"]["mask"] == [[1, 1, 1, 256], [1, 1, 1, 512], [1, 1, 1, 512]]
    assert (tmp_path / "manifest.json").is_file()
    assert not list(tmp_path.glob(".part-*"))


def test_a_second_compilation_keeps_what_fits_and_repairs_what_is_damaged(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from n3d_core.backends.tensorrt import supply

    built = []

    def build(api, graph, output, *rest):
        built.append(output.name)
        return build_engine(api, graph, output, *rest)

    monkeypatch.setattr(supply, "build_engine", build)
    job = Compilation(checkpoint, "96x80", "fp16", lower=False, capacity=512)
    first = job.engines(tmp_path, ["sm_86"])
    with caplog.at_level("INFO", "n3d.compile"):
        assert job.engines(tmp_path, ["sm_86"]) == first
    assert "the engines for sm_86 are up to date" in caplog.text
    assert len(built) == 2
    with next(tmp_path.glob("*/decoder-fp16-sm_86.engine")).open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    again = job.engines(tmp_path, ["sm_86"])
    assert built[2:] == ["decoder-fp16-sm_86.engine"]
    assert "decoder-fp16-sm_86.engine has changed: its sha256 differs" in caplog.text
    assert again["engines"][0] == first["engines"][0]


def test_the_lowered_graphs_are_built_too(checkpoint: Path, tmp_path: Path) -> None:
    manifest = Compilation(checkpoint, "96x80", "fp16", lower=True, capacity=512).engines(tmp_path, ["sm_86"])
    assert manifest["lowered"] is True
    step = manifest["engines"][1]["profiles"][1]
    assert step["shapes"]["past_key.0"] == [[1, 2, 256, 32], [1, 2, 512, 32], [1, 2, 512, 32]]


@pytest.mark.slow
def test_the_shipped_model_builds_for_every_target(tmp_path: Path) -> None:
    targets = ["sm_86", "sm_89", "sm_120"]
    manifest = Compilation(find_model("n3d-tiny"), "640x480", "fp16", lower=False, capacity=2048).engines(
        tmp_path, targets
    )
    files = [f"{kind}-fp16-{target}.engine" for target in targets for kind in ("vision", "decoder")]
    assert [Path(e["file"]).name for e in manifest["engines"]] == files
    assert all((tmp_path / e["file"]).stat().st_size == e["bytes"] for e in manifest["engines"])
    assert manifest["model"] == "n3d-tiny"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "int4"])
def test_every_precision_builds_for_every_target(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    targets = ["sm_86", "sm_89", "sm_120"]
    manifest = Compilation(checkpoint, "96x80", precision, lower=False, capacity=1024).engines(tmp_path, targets)
    assert [e["target"] for e in manifest["engines"]] == [t for t in targets for _ in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_86", "sm_89", "sm_120"])
def test_the_layers_of_the_released_3b_build(tmp_path: Path, target: str) -> None:
    folder = write_checkpoint(tmp_path / "model", real_3b(2), torch.bfloat16)
    manifest = Compilation(folder, "640x480", "fp16", lower=False, capacity=2048).engines(tmp_path / "out", [target])
    assert manifest["patch_grid"] == [34, 46]
    assert manifest["engines"][0]["bytes"] > 2 * 19e6  # two blocks of the tower


def test_a_target_that_cannot_be_built_is_refused_before_any_work(checkpoint: Path, tmp_path: Path) -> None:
    job = Compilation(checkpoint, "96x80", "fp16", lower=False, capacity=512)
    for target, machine in (("sm_87", "a Jetson Orin builds its own"), ("sm_110", "a Jetson Thor builds its own")):
        with pytest.raises(EngineError, match=machine):
            job.engines(tmp_path / "out", ["sm_86", target])
    assert not (tmp_path / "out").exists()


def test_graphs_alone_are_written_with_a_manifest(checkpoint: Path, tmp_path: Path) -> None:
    manifest = Compilation(checkpoint, "96x80", "int4", lower=True, capacity=512).graphs(tmp_path)
    listed = [(Path(e["file"]).name, e["tensorrt_10_3"]) for e in manifest["graphs"]]
    assert listed == [("vision.onnx", True), ("decoder.onnx", True)]
    for entry in manifest["graphs"]:
        assert (tmp_path / entry["file"]).stat().st_size == entry["bytes"]
        assert (tmp_path / entry["data"]["file"]).stat().st_size == entry["data"]["bytes"]


@pytest.mark.parametrize(
    ("size", "precision", "capacity", "words"),
    [
        ("640", "fp16", 512, "image size must be WIDTHxHEIGHT .* got '640'"),
        ("0x480", "fp16", 512, "image size 0x480: both sides"),
        ("640x480", "fp8", 512, "precision must be one of fp32, fp16, bf16, int8, int4; got 'fp8'"),
        ("640x480", "fp16", 8, "--cache must be at least 64 tokens"),
    ],
)
def test_wrong_options_are_named(checkpoint: Path, size: str, precision: str, capacity: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Compilation(checkpoint, size, precision, lower=False, capacity=capacity)


def test_a_killed_compilation_leaves_no_engine_and_the_next_one_cleans_up(checkpoint: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; import n3d_core.cli.compile as c;"
        "import n3d_core.backends.tensorrt.supply as s;"
        "s.build_engine = lambda *a: os._exit(9);"
        f"job = c.Compilation(Path({str(checkpoint)!r}), '96x80', 'fp16', False, 512);"
        f"job.engines(Path({str(tmp_path)!r}), ['sm_86'])"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    assert [p.name[:6] for p in tmp_path.iterdir() if p.name != ".lock"] == [".part-"]
    Compilation(checkpoint, "96x80", "fp16", lower=False, capacity=512).graphs(tmp_path)
    assert not list(tmp_path.glob(".part-*"))


def test_the_profiles_meet_the_buckets() -> None:
    chunk, step = decoder_profiles(2048)
    assert chunk.sizes["N"] == step.sizes["N"] == (256, 512, 2048)
    assert chunk.sizes["T"] == (2, 512, 1024)
    assert step.sizes["T"] == (1, 1, 1)
    assert decoder_profiles(128)[0].sizes["N"] == (128, 128, 128)
