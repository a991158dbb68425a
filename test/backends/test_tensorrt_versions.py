"""One code path for TensorRT 10.3, 10.16, 11 and RTX, driven through a stand-in that computes with ONNX Runtime."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from n3d_core.backends.export.precision import Precision
from n3d_core.backends.store import MOST_TOWERS, Store
from n3d_core.backends.tensorrt.api import TensorRT
from n3d_core.backends.tensorrt.engine import MAX_ROWS
from n3d_core.backends.tensorrt.run import TensorRTBackend
from n3d_core.backends.tensorrt.supply import EngineStore
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.cli.bench import Machine, measure_decode
from n3d_core.errors import EngineError, MissingDependencyError, TextTooLongError
from n3d_core.network.checkpoint import load_network
from n3d_core.network.preprocess import VisionInput

from .stand_in_tensorrt import StandIn
from .test_onnx_backend import continuations, replies, shared_continuations

VERSIONS = [("tensorrt", "10.3.0"), ("tensorrt", "10.16.1.11"), ("tensorrt", "11.0.0"), ("tensorrt_rtx", "1.7.1.116")]
TARGET = "sm_89"


def api(name: str, version: str) -> TensorRT:
    return TensorRT(StandIn(name, version), name)


def backend(checkpoint: Path, trt: TensorRT, **options: object) -> TensorRTBackend:
    engines = EngineStore(checkpoint, trt, TARGET, Precision.named("fp16"), **options)
    return TensorRTBackend(engines, device="cpu")


@pytest.mark.parametrize(("name", "version"), VERSIONS, ids=[f"{n}-{v}" for n, v in VERSIONS])
def test_every_version_gives_torchs_logits_across_buckets(
    checkpoint: Path, image: VisionInput, name: str, version: str
) -> None:
    made = backend(checkpoint, api(name, version))
    reference = replies(TorchBackend(load_network(checkpoint)), image)
    found = replies(made, image)
    assert np.linalg.norm(found - reference) < 0.01 * np.linalg.norm(reference)  # fp16
    lowered = version == "10.3.0"
    assert made.engines.graphs.lowered is lowered
    assert (made.engines.graphs.capacity is None) is lowered


@pytest.mark.parametrize(("name", "version"), VERSIONS, ids=[f"{n}-{v}" for n, v in VERSIONS])
def test_continuations_that_share_a_sequence_equal_torchs(checkpoint: Path, name: str, version: str) -> None:
    reference = continuations(TorchBackend(load_network(checkpoint)))
    found = shared_continuations(backend(checkpoint, api(name, version)))
    assert np.linalg.norm(found - reference) < 0.01 * np.linalg.norm(reference)  # fp16


def test_the_graph_is_chosen_by_version_and_one_line_says_why(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "n3d.tensorrt"):
        EngineStore(checkpoint, api("tensorrt", "10.14.1"), TARGET, Precision.named("fp16"))
        EngineStore(checkpoint, api("tensorrt", "10.15.1"), TARGET, Precision.named("fp16"))
    assert [r.getMessage() for r in caplog.records] == [
        "lowering the graph to opset 19: tensorrt 10.14.1 does not support RotaryEmbedding, TensorScatter and Attention"
    ]


def test_a_canonical_graph_given_to_an_old_parser_names_the_operator(checkpoint: Path, tmp_path: Path) -> None:
    from n3d_core.backends.export.graph import GraphStore
    from n3d_core.backends.tensorrt.engine import build_engine

    graph = GraphStore(checkpoint, Precision.named("fp16"), capacity=256).decoder()
    with pytest.raises(
        EngineError, match=r"tensorrt 10\.3\.0 could not parse decoder.onnx: RMSNormalization rmsnormalization.0"
    ):
        build_engine(api("tensorrt", "10.3.0"), graph, tmp_path / "e", TARGET)


def test_a_long_prompt_enters_in_chunks(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = backend(checkpoint, api("tensorrt", "10.16.1"))
    ids, positions = list(range(1, 91)), np.tile(np.arange(90), (3, 1))
    whole = made.start().extend(ids, positions, rows=50)
    monkeypatch.setattr("n3d_core.backends.tensorrt.run.MAX_CHUNK", 32)
    np.testing.assert_allclose(made.start().extend(ids, positions, rows=50), whole, atol=2e-2)


def test_limits_of_an_engine_are_said(checkpoint: Path) -> None:
    made = backend(checkpoint, api("tensorrt", "10.16.1"), capacity=512)
    with pytest.raises(TextTooLongError, match="would have 513 tokens; the limit is 512"):
        made.start().extend([1] * 513, np.zeros((3, 513), np.int64))
    rows, places = MAX_ROWS + 6, np.tile(np.arange(MAX_ROWS + 6), (3, 1))
    logits = made.start().extend(list(range(rows)), places, rows=rows)  # more rows than a pass returns
    assert len(logits) == rows
    for wanted in (MAX_ROWS, 1):
        np.testing.assert_allclose(
            made.start().extend(list(range(rows)), places, rows=wanted), logits[-wanted:], atol=1e-2
        )


def test_workspace_and_target_reach_the_builder(checkpoint: Path) -> None:
    for name, version in (("tensorrt", "10.16.1"), ("tensorrt_rtx", "1.7.1")):
        trt = api(name, version)
        EngineStore(checkpoint, trt, TARGET, Precision.named("fp16"), workspace=64 << 20).decoder()
        (config,) = trt.module.builds
        assert config.limits == {"workspace": 64 << 20}
        assert config.capabilities == ({0: "SM89"} if trt.is_rtx else {})
        assert (config.timing is None) is trt.is_rtx
        assert [p["embeddings"][2][1] for p in config.profiles] == [1024, 1]


def test_a_workspace_that_tensorrt_ignores_is_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from .stand_in_tensorrt import Config

    monkeypatch.setattr(Config, "set_memory_pool_limit", lambda self, pool, size: None)
    store = EngineStore(checkpoint, api("tensorrt", "10.16.1"), TARGET, Precision.named("fp16"), workspace=7)
    with pytest.raises(EngineError, match=r"decoder-.*: tensorrt 10.16.1 rejects a workspace of 7 bytes"):
        store.decoder()


@pytest.mark.parametrize(("name", "version"), VERSIONS, ids=[f"{n}-{v}" for n, v in VERSIONS])
def test_only_tensorrt_for_rtx_keeps_kernels(
    checkpoint: Path, image: VisionInput, tmp_path: Path, name: str, version: str
) -> None:
    from n3d_core.backends.tensorrt.engine import Engine

    engines = EngineStore(checkpoint, api(name, version), TARGET, Precision.named("fp16"))
    engine = Engine(engines.api, engines.vision(image.plan), tmp_path / "kernels")
    assert engine.context(0) is not None
    engine.save_kernels()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([b"kernels"] if name == "tensorrt_rtx" else [])


def test_an_engine_is_built_once_and_again_when_damaged(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    trt = api("tensorrt", "10.16.2")
    first = EngineStore(checkpoint, trt, TARGET, Precision.named("bf16")).decoder()
    second = EngineStore(checkpoint, trt, TARGET, Precision.named("bf16")).decoder()
    assert first == second
    assert len(trt.module.builds) == 1
    first.write_bytes(b"rubbish")
    with caplog.at_level(logging.WARNING, "n3d.store"):
        EngineStore(checkpoint, trt, TARGET, Precision.named("bf16")).decoder()
    assert len(trt.module.builds) == 2
    assert "decoder-bf16-sm_89.engine has 7 bytes instead of" in caplog.text
    EngineStore(checkpoint, api("tensorrt", "10.16.3"), TARGET, Precision.named("bf16")).decoder()
    assert first.exists()  # another TensorRT has engines of its own


def test_an_engine_that_cannot_be_loaded_says_what_to_do(checkpoint: Path, tmp_path: Path) -> None:
    from n3d_core.backends.tensorrt.engine import Engine

    file = tmp_path / "decoder.engine"
    file.write_bytes(b"rubbish")
    with pytest.raises(
        EngineError,
        match=r"decoder\.engine: tensorrt 10\.16\.1 cannot load this engine .*magic number.*compile it again",
    ):
        Engine(api("tensorrt", "10.16.1"), file)


def test_an_engine_of_the_cache_that_cannot_be_loaded_is_built_again(
    checkpoint: Path, image: VisionInput, caplog: pytest.LogCaptureFixture
) -> None:
    trt = api("tensorrt", "10.16.4")
    first = replies(backend(checkpoint, trt), image)
    store = EngineStore(checkpoint, trt, TARGET, Precision.named("fp16"))
    for file in (store.decoder(), store.vision(image.plan)):
        stat = file.stat()
        file.write_bytes(b"x" * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its seal is whole
    built = len(trt.module.builds)
    np.testing.assert_array_equal(replies(backend(checkpoint, trt), image), first)
    assert len(trt.module.builds) == built + 2
    for kind in ("decoder", "vision"):
        name = f"{kind}-fp16-sm_89.engine"
        assert re.search(rf"rebuilding \S*{name}: {name}: tensorrt 10\.16\.4 cannot load", caplog.text)
    np.testing.assert_array_equal(replies(backend(checkpoint, trt), image), first)
    assert len(trt.module.builds) == built + 2


def test_an_engine_that_finds_no_memory_is_not_built_again(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = api("tensorrt", "10.16.5")
    backend(checkpoint, trt)

    def out_of_memory(logger: Any) -> Any:
        def fail(_: bytes) -> None:
            logger.log(logger.ERROR, "CUDA out of memory")

        return SimpleNamespace(deserialize_cuda_engine=fail)

    monkeypatch.setattr(trt.module, "Runtime", out_of_memory)
    with pytest.raises(EngineError, match="cannot load this engine on this GPU: CUDA out of memory"):
        backend(checkpoint, trt)
    assert len(trt.module.builds) == 1


def test_kernels_that_cannot_be_kept_cost_no_answer(
    checkpoint: Path,
    image: VisionInput,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trt = api("tensorrt_rtx", "1.7.1.116")
    expected = replies(backend(checkpoint, trt), image)
    (tmp_path / "full").write_text("not a folder")
    monkeypatch.setattr(EngineStore, "kernel_cache", lambda self, engine: tmp_path / "full" / engine.stem)
    np.testing.assert_array_equal(replies(backend(checkpoint, trt), image), expected)
    assert "decoder-fp16-sm_89: cannot save kernels for the next start" in caplog.text


def test_engines_of_one_name_in_two_folders_keep_kernels_of_their_own(checkpoint: Path, tmp_path: Path) -> None:
    store = EngineStore(checkpoint, api("tensorrt_rtx", "1.7.1.116"), TARGET, Precision.named("fp16"))
    files = [tmp_path / model / "engines" / "decoder-fp16-sm_89.engine" for model in ("one", "other")]
    assert store.kernel_cache(files[0]) != store.kernel_cache(files[1])
    assert store.kernel_cache(files[0]) == store.kernel_cache(
        tmp_path / "other" / ".." / "one" / "engines" / files[0].name
    )


def engines_of(folder: Path) -> dict[str, Path]:
    """The engine files of a store by name."""
    return {file.name: file for file in folder.glob("*/*.engine")}


def reseal(folder: Path, change: Callable[[dict], object]) -> None:
    """Changes what the seals of a store's artifacts say."""
    for seal in folder.glob("*/artifact.json"):
        stated = json.loads(seal.read_text())
        change(stated)
        seal.write_text(json.dumps(stated))


class TestEnginesBuiltAhead:
    """A folder of `n3d compile` is used if it fits; if not, one line says why."""

    @pytest.fixture
    def trt(self) -> TensorRT:
        return api("tensorrt_rtx", "1.7.1.116")

    @pytest.fixture
    def ahead(self, checkpoint: Path, trt: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        from n3d_core.cli.compile import Compilation

        monkeypatch.setitem(sys.modules, "tensorrt", None)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", trt.module)
        Compilation(checkpoint, "96x80", "fp16", lower=False, capacity=512).engines(tmp_path / "out", [TARGET])
        trt.module.builds.clear()
        return tmp_path / "out"

    def store(self, checkpoint: Path, trt: TensorRT, ahead: Path, **options: object) -> EngineStore:
        return EngineStore(checkpoint, trt, TARGET, Precision.named("fp16"), ahead, capacity=512, **options)

    def test_one_that_fits_is_used(self, checkpoint: Path, trt: TensorRT, ahead: Path, image: VisionInput) -> None:
        store = self.store(checkpoint, trt, ahead, build=False)
        assert store.decoder() == engines_of(ahead)["decoder-fp16-sm_89.engine"]
        assert store.vision(image.plan) == engines_of(ahead)["vision-fp16-sm_89.engine"]
        assert trt.module.builds == []

    def test_one_that_fits_needs_no_graph(self, checkpoint: Path, trt: TensorRT, ahead: Path, tmp_path: Path) -> None:
        store = self.store(checkpoint, trt, ahead, build=False)
        store.graphs.store = Store(tmp_path / "graphs")
        store.decoder()
        assert not (tmp_path / "graphs").exists()

    def test_another_image_size_names_both(
        self, checkpoint: Path, trt: TensorRT, ahead: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from n3d_core.network.plan import image_plan

        from .conftest import small_config

        store = self.store(checkpoint, trt, ahead, build=False)
        with pytest.raises(EngineError, match="no vision engine for sm_89"):
            store.vision(image_plan(small_config(), 12, 12))
        assert "it was compiled for 96x80 (12x10 patches), but the image has 12x12" in caplog.text

    def test_a_folder_without_the_right_gpu_or_precision_is_not_used(
        self, checkpoint: Path, trt: TensorRT, ahead: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        engines = EngineStore(checkpoint, trt, TARGET, Precision.named("bf16"), ahead)
        assert engines.decoder().parent.parent != ahead
        assert "none for sm_89 in bf16" in caplog.text

    @pytest.mark.parametrize("seal", ["{", "[]", '{"key": 3, "files": {}}'])
    def test_an_artifact_that_cannot_be_read_is_not_used(
        self, checkpoint: Path, trt: TensorRT, ahead: Path, seal: str
    ) -> None:
        for file in ahead.glob("*/artifact.json"):
            file.write_text(seal)
        assert self.store(checkpoint, trt, ahead).decoder().parent.parent != ahead

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (
                {"built_by": "tensorrt_rtx 1.2"},
                "it was built by tensorrt_rtx 1.2, but tensorrt_rtx 1.7.1.116 is installed",
            ),
            ({"weights": "0"}, "it was compiled from other weights"),
            ({"capacity": 64}, "its cache holds 64 tokens, but 512 are needed"),
            (
                {"lowered": True},
                "its graph is lowered to opset 19, but tensorrt_rtx 1.7.1.116 needs the canonical one: "
                "compile it again without --lower",
            ),
            (
                {"graph_version": 0},
                "it was compiled from graphs of version 0, but this package writes version 1: compile it again",
            ),
        ],
    )
    def test_an_engine_that_does_not_fit_is_built_here_and_one_line_says_why(
        self, checkpoint: Path, trt: TensorRT, ahead: Path, caplog: pytest.LogCaptureFixture, change: dict, words: str
    ) -> None:
        reseal(ahead, lambda seal: seal["key"].update(change))
        found = self.store(checkpoint, trt, ahead).decoder()
        assert found.parent.parent != ahead
        lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert lines == [f"{ahead}: not using the decoder engine: {words}"]

    def test_a_lowered_one_is_refused_where_the_canonical_graph_runs_and_the_other_way_round(
        self, checkpoint: Path, trt: TensorRT, ahead: Path, image: VisionInput, caplog: pytest.LogCaptureFixture
    ) -> None:
        from n3d_core.cli.compile import Compilation

        shutil.rmtree(ahead)
        manifest = Compilation(checkpoint, "96x80", "fp16", lower=True, capacity=512).engines(ahead, [TARGET])
        assert [entry["lowered"] for entry in manifest["engines"]] == [True, True]
        store = self.store(checkpoint, trt, ahead)
        assert store.decoder().parent.parent != ahead
        assert store.vision(image.plan).parent.parent != ahead
        assert caplog.text.count("compile it again without --lower") == 2
        old = api("tensorrt_rtx", "1.7.1.116")  # as another version that knows no fused operators
        del old.module.IKVCacheUpdateLayer
        found = self.store(checkpoint, old, ahead, build=False).decoder()
        assert found == engines_of(ahead)["decoder-fp16-sm_89.engine"]

    def test_the_cache_is_as_long_as_the_engine_was_compiled_for(
        self, checkpoint: Path, trt: TensorRT, ahead: Path, image: VisionInput
    ) -> None:
        engines = EngineStore(checkpoint, trt, TARGET, Precision.named("fp16"), ahead, build=False)
        assert (engines.capacity, engines.graphs.capacity) == (512, 512)
        made = TensorRTBackend(engines, device="cpu")
        assert engines.decoder() == engines_of(ahead)["decoder-fp16-sm_89.engine"]
        reference = replies(TorchBackend(load_network(checkpoint)), image)
        assert np.linalg.norm(replies(made, image) - reference) < 0.01 * np.linalg.norm(reference)
        with pytest.raises(TextTooLongError, match="would have 513 tokens; the limit is 512"):
            made.start().extend([1] * 513, np.zeros((3, 513), np.int64))
        assert trt.module.builds == []

    def test_without_an_engine_that_fits_the_cache_has_its_usual_length(
        self, checkpoint: Path, trt: TensorRT, ahead: Path
    ) -> None:
        for store in (
            EngineStore(checkpoint, trt, TARGET, Precision.named("bf16"), ahead),
            EngineStore(checkpoint, trt, "sm_86", Precision.named("fp16"), ahead),
            EngineStore(checkpoint, trt, TARGET, Precision.named("fp16"), ahead / "nowhere"),
        ):
            assert store.capacity == store.graphs.capacity == 2048

    def test_the_latest_of_two_cache_lengths_is_taken(self, checkpoint: Path, trt: TensorRT, ahead: Path) -> None:
        from n3d_core.cli.compile import Compilation

        for capacity in (1024, 256):
            Compilation(checkpoint, "96x80", "fp16", lower=False, capacity=capacity).engines(ahead, [TARGET])
            engines = EngineStore(checkpoint, trt, TARGET, Precision.named("fp16"), ahead, build=False)
            assert engines.capacity == engines.graphs.capacity == capacity
            assert engines.decoder().parent.parent == ahead

    def test_one_that_cannot_be_loaded_is_built_here_and_left_where_it_is(
        self, checkpoint: Path, trt: TensorRT, ahead: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = engines_of(ahead)["decoder-fp16-sm_89.engine"]
        stat = file.stat()
        file.write_bytes(b"x" * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its seal is whole: it is of another GPU, say
        with pytest.raises(EngineError, match="cannot load this engine on this GPU"):
            self.store(checkpoint, trt, ahead, build=False).open_decoder()
        assert self.store(checkpoint, trt, ahead).open_decoder().path.parent.parent != ahead
        assert file.read_bytes() == b"x" * stat.st_size
        assert f"rebuilding {file}: " in caplog.text

    def test_a_damaged_one_is_built_here(
        self, checkpoint: Path, trt: TensorRT, ahead: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        engines_of(ahead)["decoder-fp16-sm_89.engine"].write_bytes(b"x")
        assert self.store(checkpoint, trt, ahead).decoder().parent.parent != ahead
        assert "not using the decoder engine: decoder-fp16-sm_89.engine has 1 bytes instead of" in caplog.text


class TestOneFolderForMany:
    """Several runs of `n3d compile` with one `--output`."""

    @pytest.fixture(autouse=True)
    def trt(self, monkeypatch: pytest.MonkeyPatch) -> TensorRT:
        made = api("tensorrt_rtx", "1.7.1.116")
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", made.module)
        return made

    def compiled(self, checkpoint: Path, output: Path, precision: str, *targets: str, capacity: int = 512) -> dict:
        from n3d_core.cli.compile import Compilation

        job = Compilation(checkpoint, "96x80", precision, lower=False, capacity=capacity)
        return job.engines(output, list(targets)) if targets else job.graphs(output)

    def test_other_precisions_targets_and_graphs_stay_listed_and_usable(
        self, checkpoint: Path, tmp_path: Path, trt: TensorRT, image: VisionInput
    ) -> None:
        self.compiled(checkpoint, tmp_path, "fp16", "sm_86", "sm_89")
        graphs = self.compiled(checkpoint, tmp_path, "fp16")
        assert len(graphs["engines"]) == 4
        manifest = self.compiled(checkpoint, tmp_path, "bf16", "sm_89", capacity=1024)
        assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
        listed = {Path(e["file"]).name: e.get("capacity") for e in manifest["engines"]}
        assert listed == {
            "vision-bf16-sm_89.engine": None,
            "decoder-bf16-sm_89.engine": 1024,
            "vision-fp16-sm_86.engine": None,
            "decoder-fp16-sm_86.engine": 512,
            "vision-fp16-sm_89.engine": None,
            "decoder-fp16-sm_89.engine": 512,
        }
        assert [Path(e["file"]).name for e in manifest["graphs"]] == ["decoder.onnx", "vision.onnx"]
        for entry in manifest["engines"] + manifest["graphs"]:
            assert (tmp_path / entry["file"]).stat().st_size == entry["bytes"]
        built = len(trt.module.builds)
        for target, precision, capacity in (("sm_86", "fp16", 512), ("sm_89", "fp16", 512), ("sm_89", "bf16", 1024)):
            store = EngineStore(checkpoint, trt, target, Precision.named(precision), tmp_path, build=False)
            assert store.capacity == capacity
            assert store.decoder() == engines_of(tmp_path)[f"decoder-{precision}-{target}.engine"]
            assert store.vision(image.plan) == engines_of(tmp_path)[f"vision-{precision}-{target}.engine"]
        again = self.compiled(checkpoint, tmp_path, "fp16", "sm_86")
        assert Path(again["engines"][0]["file"]).name == "vision-fp16-sm_86.engine"
        assert len(trt.module.builds) == built

    def test_what_is_gone_damaged_or_of_other_weights_is_no_longer_listed(
        self, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from .conftest import small_config, write_checkpoint

        output = tmp_path / "engines"
        self.compiled(checkpoint, output, "fp16", "sm_86", "sm_89")
        shutil.rmtree(engines_of(output)["vision-fp16-sm_86.engine"].parent)
        engines_of(output)["decoder-fp16-sm_86.engine"].write_bytes(b"rubbish")
        manifest = self.compiled(checkpoint, output, "bf16", "sm_89")
        files = sorted(Path(e["file"]).name for e in manifest["engines"])
        assert files == [f"{kind}-{of}-sm_89.engine" for kind in ("decoder", "vision") for of in ("bf16", "fp16")]
        assert ": decoder-fp16-sm_86.engine has 7 bytes instead of " in caplog.text
        other = write_checkpoint(tmp_path / "other", small_config(rms_norm_eps=1e-5))
        manifest = self.compiled(other, output, "int8", "sm_89")
        names = [Path(e["file"]).name for e in manifest["engines"]]
        assert names == ["vision-int8-sm_89.engine", "decoder-int8-sm_89.engine"]
        assert " in the manifest: it was built from other weights" in caplog.text

    def test_a_build_that_fails_loses_none_of_those_before_it(
        self, checkpoint: Path, tmp_path: Path, trt: TensorRT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from n3d_core.backends.tensorrt import supply

        self.compiled(checkpoint, tmp_path, "bf16", "sm_89")
        plain = supply.build_engine

        def failing(api: TensorRT, graph: object, output: Path, *rest: object) -> object:
            if output.name == "decoder-fp16-sm_89.engine":
                raise EngineError("out of memory")
            return plain(api, graph, output, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(supply, "build_engine", failing)
            with pytest.raises(EngineError, match="out of memory"):
                self.compiled(checkpoint, tmp_path, "fp16", "sm_86", "sm_89")
        built = len(trt.module.builds)
        manifest = self.compiled(checkpoint, tmp_path, "fp16", "sm_86", "sm_89")
        assert len(trt.module.builds) == built + 1
        assert len(manifest["engines"]) == 6

    def test_another_workspace_is_another_engine(self, checkpoint: Path, tmp_path: Path, trt: TensorRT) -> None:
        from n3d_core.cli.compile import Compilation

        for workspace, builds in ((64, 2), (64, 2), (32, 4), (None, 4)):
            job = Compilation(checkpoint, "96x80", "fp16", lower=False, capacity=512, workspace=workspace)
            entries = job.engines(tmp_path, ["sm_89"])["engines"]
            assert len(trt.module.builds) == builds
        assert [entry["workspace"] for entry in entries] == [32 << 20] * 2

    def test_two_that_compile_to_it_at_once_take_turns_and_both_are_listed(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from n3d_core.backends.tensorrt import supply

        plain, inside = supply.build_engine, threading.Lock()

        def slow(*args: Any) -> object:
            assert inside.acquire(blocking=False)
            time.sleep(0.2)
            inside.release()
            return plain(*args)

        monkeypatch.setattr(supply, "build_engine", slow)
        with caplog.at_level(logging.INFO, "n3d.store"):
            in_threads(*(lambda p=p: self.compiled(checkpoint, tmp_path, p, "sm_89") for p in ("fp16", "bf16", "int8")))
        listed = {Path(e["file"]).name for e in json.loads((tmp_path / "manifest.json").read_text())["engines"]}
        assert listed == {f"{k}-{p}-sm_89.engine" for k in ("vision", "decoder") for p in ("fp16", "bf16", "int8")}
        assert f"waiting for another build in {tmp_path}" in caplog.text

    def test_a_lowered_decoder_of_another_cache_is_another_engine(
        self, checkpoint: Path, tmp_path: Path, trt: TensorRT
    ) -> None:
        """Its graph does not depend on the cache's length, its profiles do."""
        self.compiled(checkpoint, tmp_path, "fp32", "sm_89")
        built = len(trt.module.builds)
        manifest = self.compiled(checkpoint, tmp_path, "fp32", "sm_89", capacity=1024)
        assert len(trt.module.builds) == built + 1
        assert manifest["engines"][1]["profiles"][0]["shapes"]["past_key.0"][2][2] == 1024
        assert sorted(e["capacity"] for e in manifest["engines"] if e["graph"] == "decoder") == [512, 1024]


def test_no_tensorrt_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'n3d-ros\[tensorrt\]'"):
        TensorRT.installed()


@pytest.mark.parametrize(
    "error", ["ImportError('libnvinfer.so.10: no such file')", "OSError('libnvinfer.so.10: no such file')"]
)
def test_one_whose_libraries_are_missing_gives_way_and_is_named_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    (tmp_path / "tensorrt.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", StandIn("tensorrt_rtx", "1.7.1"))
    assert TensorRT.installed().name == "tensorrt_rtx"
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(
        MissingDependencyError, match=r"cannot be used: tensorrt cannot be imported \(libnvinfer\.so\.10.*pip install"
    ):
        TensorRT.installed()


def test_one_that_is_too_old_is_named_with_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", StandIn("tensorrt", "8.6.2"))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingDependencyError, match=r"tensorrt 8\.6\.2 is too old: 10\.3 \(JetPack 6\.1\) or newer"):
        TensorRT.installed()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", StandIn("tensorrt_rtx", "1.7.1"))
    assert TensorRT.installed().name == "tensorrt_rtx"


def test_the_module_that_can_build_a_target_builds_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, version in (("tensorrt", "10.16.1"), ("tensorrt_rtx", "1.7.1")):
        monkeypatch.setitem(sys.modules, name, StandIn(name, version))
    assert TensorRT.that_builds(["sm_89", "sm_120"], None).name == "tensorrt_rtx"
    assert (
        "building with tensorrt_rtx 1.7.1: target sm_89: tensorrt 10.16.1 on this machine builds nothing" in caplog.text
    )
    assert TensorRT.that_builds(["sm_89"], "sm_89").name == "tensorrt"
    with pytest.raises(EngineError, match="Jetson Orin builds its own"):
        TensorRT.that_builds(["sm_89", "sm_87"], None)


def test_classic_tensorrt_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("tensorrt", "10.3.0"), ("tensorrt_rtx", "1.7.1")):
        monkeypatch.setitem(sys.modules, name, StandIn(name, version))
    found = TensorRT.installed()
    assert (found.name, found.release) == ("tensorrt", (10, 3, 0))


@pytest.mark.parametrize(
    ("name", "target", "local", "words"),
    [
        ("tensorrt_rtx", "sm_87", None, "Jetson Orin builds its own"),
        ("tensorrt_rtx", "sm_110", None, "Jetson Thor builds its own"),
        ("tensorrt_rtx", "sm_90", "sm_90", "H100, H200"),
        ("tensorrt", "sm_89", None, "on this machine builds nothing without a GPU"),
        ("tensorrt", "sm_89", "sm_86", "on this machine builds sm_86"),
        ("tensorrt_rtx", "ada", None, "a GPU architecture such as sm_86"),
    ],
)
def test_targets_that_cannot_be_built_name_the_machine_that_can(
    name: str, target: str, local: str | None, words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        api(name, "10.16.1").check_target(target, local)


def test_targets_that_can_be_built() -> None:
    api("tensorrt_rtx", "1.7.1").check_target("sm_120", None)
    api("tensorrt", "10.3.0").check_target("sm_87", "sm_87")  # on the Jetson itself
    assert torch.cuda.is_available() or api("tensorrt_rtx", "1.7.1").targets(None) == ["sm_86", "sm_89", "sm_120"]


def test_the_check_of_engines_sees_equal_and_unequal_weights(checkpoint: Path) -> None:
    from bench.engines import LIMITS, compare
    from n3d_core.network.plan import image_plan

    made = backend(checkpoint, api("tensorrt", "10.16.1"))
    reference = TorchBackend(load_network(checkpoint))
    plan = image_plan(reference.config, 10, 12)
    errors = compare(made, reference, plan)
    assert errors.keys() == {"vision", "prefill", "steps"}
    assert max(errors.values()) < LIMITS["fp16"]
    reference.network.model.norm.weight.mul_(1.1)
    assert compare(made, reference, plan)["steps"] > LIMITS["fp16"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="engines run on an NVIDIA GPU that TensorRT supports")
@pytest.mark.parametrize("precision", ["fp16", "bf16", "int4"])
def test_engines_on_this_gpu_equal_torch(checkpoint: Path, precision: str) -> None:
    from bench.engines import LIMITS, check

    pytest.importorskip("tensorrt_rtx", reason="TensorRT is not installed")
    errors = check(checkpoint, "96x80", precision)
    assert max(errors.values()) < LIMITS[precision], errors


@pytest.mark.parametrize(("name", "version"), [VERSIONS[0], VERSIONS[1]], ids=["lowered", "canonical"])
def test_contexts_are_made_once_for_many_frames(
    checkpoint: Path, image: VisionInput, name: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backend(checkpoint, api(name, version))
    first = replies(made, image)
    count: list[int] = []
    plain = made.decoder.context
    monkeypatch.setattr(made.decoder, "context", lambda profile: count.append(profile) or plain(profile))
    np.testing.assert_array_equal(replies(made, image), first)
    assert (count == []) is (version != "10.3.0")  # a lowered cache that grew starts again in the first bucket


def test_single_steps_are_measured_against_the_engines_bytes(checkpoint: Path) -> None:
    made = backend(checkpoint, api("tensorrt", "10.16.1"))
    text = made.config.text
    cached = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_size * 20 * 2  # fp16
    found = measure_decode(made, Machine("cpu", 1, read_gb_s=10.0, copy_gb_s=10.0), context=20, steps=4)
    assert found.bytes_per_step == made.engines.decoder().stat().st_size + cached
    assert found.ceiling_share == pytest.approx(found.bytes_per_step / 10e9 / (found.step_ms / 1e3), abs=2e-3)


def in_threads(*work: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(w) for w in work]]


@pytest.mark.parametrize(("name", "version"), [VERSIONS[0], VERSIONS[3]], ids=["lowered", "rtx"])
def test_threads_that_share_a_backend_do_not_share_a_run(
    checkpoint: Path, image: VisionInput, name: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets what it gets alone, and no two are in TensorRT at once: its objects are for one thread at a time."""
    from .stand_in_tensorrt import Context

    made = backend(checkpoint, api(name, version))
    other = replace(image, patches=-image.patches)
    alone = [(made.encode(one), replies(made, one)) for one in (image, other)]
    plain, inside = Context.execute_async_v3, threading.Lock()
    overlaps: list[str] = []

    def slow(context: Context, stream: int) -> bool:
        if not inside.acquire(blocking=False):
            overlaps.append("two threads in TensorRT at once")
            return plain(context, stream)
        try:
            time.sleep(0.003)  # another thread has the time to write its input
            return plain(context, stream)
        finally:
            inside.release()

    monkeypatch.setattr(Context, "execute_async_v3", slow)
    for _ in range(3):
        tokens = in_threads(lambda: made.encode(image), lambda: made.encode(other))
        logits = in_threads(lambda: replies(made, image), lambda: replies(made, other))
        for found, expected in zip(zip(tokens, logits, strict=True), alone, strict=True):
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
    assert overlaps == []


@pytest.mark.parametrize("kind", ["torch", "tensorrt"])
def test_a_cache_that_another_thread_took_meanwhile_is_no_error(checkpoint: Path, kind: str) -> None:
    class TakenMeanwhile(list):
        def __bool__(self) -> bool:
            return True  # as it was when it was asked

    made = (
        backend(checkpoint, api("tensorrt", "10.16.1"))
        if kind == "tensorrt"
        else TorchBackend(load_network(checkpoint))
    )
    made._free = TakenMeanwhile()
    assert made.start().length == 0


@pytest.mark.parametrize(("name", "version"), VERSIONS, ids=[f"{n}-{v}" for n, v in VERSIONS])
def test_an_engine_is_read_in_pieces_while_it_is_loaded(
    checkpoint: Path, name: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from n3d_core.backends.tensorrt import engine

    monkeypatch.setattr(engine, "_PIECE", 4096)
    store = EngineStore(checkpoint, api(name, version), TARGET, Precision.named("fp16"))
    file = store.decoder()

    def refuse(_: Path) -> bytes:
        raise AssertionError("the engine was read whole")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    opened = engine.Engine(store.api, file)
    assert opened.bytes == sum(store.api.module.pieces) == file.stat().st_size
    assert max(store.api.module.pieces) <= 4096


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("set_optimization_profile_async", "optimisation profile 1 was rejected"),
        ("set_input_shape", r"input \w+ does not accept the shape \["),
        ("set_tensor_address", "rejected the address of"),
        ("execute_async_v3", "the run failed"),
    ],
)
def test_what_tensorrt_refuses_is_an_error_with_its_own_words(
    checkpoint: Path, image: VisionInput, call: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .stand_in_tensorrt import Context

    made = backend(checkpoint, api("tensorrt", "10.16.1"))
    made.decoder._logger.errors.append("Error Code 3: bad parameter")
    monkeypatch.setattr(Context, call, lambda self, *arguments: False)
    sequence = made.start()
    with pytest.raises(EngineError, match=f"decoder-fp16-sm_89.engine: .*{words}.*: Error Code 3: bad parameter"):
        sequence.extend([1], np.zeros((3, 1), np.int64))
    assert sequence.length == 0
    monkeypatch.undo()
    assert sequence.extend([1], np.zeros((3, 1), np.int64)).shape == (1, 512)


def test_a_pass_that_fails_halfway_adds_nothing(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from .stand_in_tensorrt import Context

    made, run, passes = backend(checkpoint, api("tensorrt", "10.16.1")), Context.execute_async_v3, []
    sequence, prompt = made.start(), np.tile(np.arange(3), (3, 1))
    sequence.extend([5, 6, 7], prompt)
    kept = made.start()
    kept.extend([5, 6, 7], prompt)
    ids, positions = list(range(40)), np.tile(np.arange(3, 43), (3, 1))
    expected = kept.extend(ids, positions)

    def failing(self: Context, stream: int) -> bool:
        passes.append(1)
        return len(passes) == 1 and run(self, stream)

    monkeypatch.setattr(sequence, "_max_chunk", 16)
    with monkeypatch.context() as patch:
        patch.setattr(Context, "execute_async_v3", failing)
        with pytest.raises(EngineError, match="the run failed"):
            sequence.extend(ids, positions)
    assert (sequence.length, len(passes)) == (3, 2)
    np.testing.assert_allclose(sequence.extend(ids, positions), expected, atol=2e-2)


@pytest.mark.parametrize("refused", [1, 2])
def test_timings_that_tensorrt_rejects_are_measured_anew(
    checkpoint: Path, tmp_path: Path, refused: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from .stand_in_tensorrt import Config

    answers = [False] * refused + [True]
    monkeypatch.setattr(Config, "set_timing_cache", lambda self, cache, ignore_mismatch: answers.pop(0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    timings = tmp_path / "n3d" / "sm_89.timings"
    timings.parent.mkdir()
    timings.write_bytes(b"of another TensorRT")
    assert EngineStore(checkpoint, api("tensorrt", "10.16.1"), TARGET, Precision.named("fp16")).decoder().exists()
    assert timings.read_bytes() == (b"timings" if refused == 1 else b"of another TensorRT")
    said = [r.getMessage() for r in caplog.records if "timing cache" in r.getMessage()]
    assert said == ([] if refused == 1 else [f"TensorRT rejected the timing cache {timings}: " + _SLOW])


_SLOW = "the next build will take as long as this one"


def test_why_a_build_failed_reaches_the_user(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trt = api("tensorrt", "10.16.1")
    plain = trt.module.Builder

    def failing(logger: Any) -> Any:
        builder = plain(logger)

        def build(network: Any, config: Any) -> None:
            logger.log(logger.ERROR, "CUDA driver version is insufficient")
            logger.log(logger.ERROR, "Could not find any implementation for node\n matmul.3")

        builder.build_serialized_network = build
        return builder

    monkeypatch.setattr(trt.module, "Builder", failing)
    store = EngineStore(checkpoint, trt, TARGET, Precision.named("fp16"), store=Store(tmp_path))
    with pytest.raises(
        EngineError,
        match=r"could not build decoder-.* for sm_89: Could not find any implementation for node matmul\.3$",
    ):
        store.decoder()
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "Could not find any implementation for node\n matmul.3"
    ]


def test_towers_are_bounded_and_a_ratio_that_comes_again_gives_the_same(checkpoint: Path, image: VisionInput) -> None:
    from n3d_core.network.plan import image_plan

    made = backend(checkpoint, api("tensorrt", "10.16.1"))
    first = made.encode(image)
    alone = made.memory_bytes
    for width in range(4, 10, 2):
        for height in (4, 6):
            plan = image_plan(made.config, height, width)
            patches = np.zeros((plan.patches, made.config.vision.patch_values), np.float32)
            made.encode(VisionInput(patches, np.zeros((plan.patches, 3), np.float32), plan))
    assert len(made._towers) == MOST_TOWERS
    assert made.memory_bytes < MOST_TOWERS * alone
    np.testing.assert_array_equal(made.encode(image), first)


def test_two_models_never_use_a_gpu_at_once(
    checkpoint: Path, image: VisionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .stand_in_tensorrt import Context

    models = [backend(checkpoint, api(name, version)) for name, version in (VERSIONS[0], VERSIONS[3])]
    expected = [replies(made, image) for made in models]
    plain, inside = Context.execute_async_v3, threading.Lock()

    def alone(context: Context, stream: int) -> bool:
        assert inside.acquire(blocking=False), "another model runs"
        try:
            time.sleep(0.002)
            return plain(context, stream)
        finally:
            inside.release()

    monkeypatch.setattr(Context, "execute_async_v3", alone)
    found = in_threads(*(lambda made=made: replies(made, image) for made in models))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_that_is_let_go_needs_no_garbage_collector(checkpoint: Path, image: VisionInput) -> None:
    made = backend(checkpoint, api("tensorrt", "10.16.1"))
    replies(made, image)
    made.encode(image)
    engine, tower = weakref.ref(made.decoder), weakref.ref(made._tower(image.plan))
    gc.collect()
    gc.disable()
    try:
        del made
        assert engine() is None
        assert tower() is None
    finally:
        gc.enable()
