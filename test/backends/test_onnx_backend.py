"""ONNX Runtime gives torch's numbers and tokens, and copies no cache."""

from __future__ import annotations

import gc
import json
import logging
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from n3d_core.backends import onnx_backend as onnx_module
from n3d_core.backends.base import Backend
from n3d_core.backends.export import graph as graph_module
from n3d_core.backends.export.graph import GraphStore
from n3d_core.backends.export.precision import Precision
from n3d_core.backends.onnx_backend import OnnxBackend, OnnxCache
from n3d_core.backends.sequence import FIRST_BUCKET, SPARE_CACHES, CachedSequence, Chunk
from n3d_core.backends.store import MOST_TOWERS
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.errors import BackendError, TextTooLongError
from n3d_core.network.checkpoint import load_network
from n3d_core.network.plan import image_plan
from n3d_core.network.preprocess import VisionInput


@pytest.fixture(scope="module")
def torch_backend(checkpoint: Path) -> TorchBackend:
    return TorchBackend(load_network(checkpoint))


@pytest.fixture(scope="module")
def onnx_backend(checkpoint: Path) -> OnnxBackend:
    return OnnxBackend(GraphStore(checkpoint, Precision.named("fp32")), threads=1)


def prompt(backend: Backend, image: VisionInput) -> tuple[list[int], np.ndarray]:
    """Text, the image, text: ids and M-RoPE positions [3, n]."""
    pads = image.plan.tokens
    ids = [7, 8, 501, *[backend.config.image_token_id] * pads, 502, *range(20, 90)]
    places, following = image.plan.mrope_positions(3)
    after = following + np.arange(71)
    positions = np.concatenate([np.tile(np.arange(3), (3, 1)), places, np.tile(after, (3, 1))], axis=1)
    return ids, positions


def replies(backend: Backend, image: VisionInput) -> np.ndarray:
    """Logits [rows, vocab] of a prompt, a chunk behind it, and single steps that pass the end of the first bucket."""
    ids, positions = prompt(backend, image)
    sequence, after = backend.start(), int(positions.max()) + 1
    rows = [sequence.extend(ids, positions, backend.encode(image))]
    stream = np.random.default_rng(3).integers(0, 500, FIRST_BUCKET + 4 - len(ids)).tolist()
    chunk = stream[:-10]
    rows.append(sequence.extend(chunk, np.tile(after + np.arange(len(chunk)), (3, 1)), rows=8))
    for place, token in enumerate(stream[-10:], after + len(chunk)):
        rows.append(sequence.extend([token], np.full((3, 1), place)))
    assert sequence.length == FIRST_BUCKET + 4
    return np.concatenate(rows)


def test_image_tokens_equal_torchs(torch_backend: TorchBackend, onnx_backend: OnnxBackend, image: VisionInput) -> None:
    np.testing.assert_allclose(onnx_backend.encode(image), torch_backend.encode(image).numpy(), atol=1e-4)


def test_logits_and_greedy_tokens_are_torchs_across_a_change_of_bucket(
    torch_backend: TorchBackend, onnx_backend: OnnxBackend, image: VisionInput
) -> None:
    found, expected = replies(onnx_backend, image), replies(torch_backend, image)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()


def test_a_chunk_equals_its_tokens_one_by_one(onnx_backend: OnnxBackend) -> None:
    ids, positions = list(range(30, 60)), np.tile(np.arange(30), (3, 1))
    whole = onnx_backend.start().extend(ids, positions, rows=30)
    sequence = onnx_backend.start()
    single = [sequence.extend([i], positions[:, n : n + 1])[0] for n, i in enumerate(ids)]
    np.testing.assert_allclose(whole, np.stack(single), atol=1e-4)


PREFIX = 250  # the continuations pass the end of the first bucket


def continuations(backend: Backend) -> np.ndarray:
    """Logits [4, vocab] of two continuations of one text, each in a sequence of its own."""
    found = []
    for ids in ([30, 31, 32, 33, 34, 35], [40, 41, 42, 43]):
        sequence = backend.start()
        sequence.extend(list(range(PREFIX)), np.tile(np.arange(PREFIX), (3, 1)))
        place = PREFIX + np.arange(len(ids))
        found.append(sequence.extend(ids[:-1], np.tile(place[:-1], (3, 1)))[0])
        found.append(sequence.extend(ids[-1:], np.tile(place[-1:], (3, 1)))[0])
    return np.stack([found[i] for i in (0, 2, 1, 3)])


def shared_continuations(backend: Backend) -> np.ndarray:
    """The same in one sequence, where each attends to its own tokens alone."""
    sequence = backend.start()
    sequence.extend(list(range(PREFIX)), np.tile(np.arange(PREFIX), (3, 1)))
    text, owner = [30, 40, 31, 41, 32, 33, 34, 42], np.array([0, 1, 0, 1, 0, 0, 0, 1])
    place = PREFIX + np.array([0, 0, 1, 1, 2, 3, 4, 2])
    own = np.tri(8, dtype=np.bool_) & (owner == owner[:, None])
    sees = np.concatenate([np.ones((8, PREFIX), np.bool_), own], axis=1)
    first = sequence.extend(text, np.tile(place, (3, 1)), rows=2, sees=sees)
    rest = []
    for index, token in enumerate((35, 43)):  # single steps
        others = np.arange(sequence.length - PREFIX - 8) < 0
        seen = np.concatenate([np.ones(PREFIX, np.bool_), owner == index, others, [True]])
        step = np.full((3, 1), PREFIX + (5, 3)[index])
        rest.append(sequence.extend([token], step, sees=seen[None])[0])
    return np.stack([*first, *rest])


def test_continuations_that_share_a_sequence_equal_those_that_do_not(
    torch_backend: TorchBackend, onnx_backend: OnnxBackend
) -> None:
    expected = continuations(torch_backend)
    static = TorchBackend(torch_backend.network, static_steps=True)
    for backend in (torch_backend, static, onnx_backend):
        found = shared_continuations(backend)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(continuations(backend), expected, atol=1e-4)
        assert found.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()


def test_a_sequence_that_was_long_reads_no_more_than_a_short_one(
    onnx_backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets: list[int] = []
    run = OnnxCache.run

    def noted(cache: OnnxCache, chunk: Chunk, bucket: int) -> np.ndarray:
        buckets.append(bucket)
        return run(cache, chunk, bucket)

    monkeypatch.setattr(OnnxCache, "run", noted)
    ids, positions = [i % 400 for i in range(800)], np.tile(np.arange(800), (3, 1))
    sequence, fresh = onnx_backend.start(), onnx_backend.start()
    found, expected = [], []
    for length in (100, 300, 700, 300, 100, 130, 260):
        sequence.truncate(min(sequence.length, 90))
        fed = slice(sequence.length, length)
        found.append(sequence.extend(ids[fed], positions[:, fed])[0])
        fresh.truncate(0)
        expected.append(fresh.extend(ids[:length], positions[:, :length])[0])
    np.testing.assert_allclose(np.stack(found), np.stack(expected), atol=1e-4)
    assert buckets[::2] == [256, 384, 768, 384, 256, 256, 384]


def test_what_was_truncated_has_no_effect(onnx_backend: OnnxBackend) -> None:
    ids, positions = list(range(30, 60)), np.tile(np.arange(30), (3, 1))
    sequence = onnx_backend.start()
    sequence.extend(ids, positions)
    sequence.truncate(10)
    assert sequence.length == 10
    again = sequence.extend(ids[10:], positions[:, 10:])
    np.testing.assert_allclose(again, onnx_backend.start().extend(ids, positions), atol=1e-5)
    with pytest.raises(ValueError, match="cannot truncate a sequence of 30 tokens to 31"):
        sequence.truncate(31)


def test_sequences_do_not_share_a_cache(onnx_backend: OnnxBackend) -> None:
    positions = np.tile(np.arange(20), (3, 1))
    one, other = onnx_backend.start(), onnx_backend.start()
    one.extend(list(range(20)), positions)
    other.extend(list(range(100, 120)), positions)
    step = np.full((3, 1), 20)
    alone = onnx_backend.start()
    alone.extend(list(range(20)), positions)
    np.testing.assert_array_equal(one.extend([5], step), alone.extend([5], step))


def test_a_sequence_in_the_memory_of_a_finished_one_gives_what_the_first_gave(
    checkpoint: Path, image: VisionInput
) -> None:
    backend = OnnxBackend(GraphStore(checkpoint, Precision.named("fp32")), threads=1)
    first = replies(backend, image)
    (cache,) = backend._free
    assert cache.backend is None
    memory = {bucket: layers[0][1].ctypes.data for bucket, (layers, _) in cache._buckets.items()}
    assert sorted(memory) == [FIRST_BUCKET, FIRST_BUCKET * 3 // 2]
    for _, values in (layer for layers, _ in cache._buckets.values() for layer in layers):
        values[...] = 1e3  # whatever another view left
    np.testing.assert_array_equal(replies(backend, image), first)
    assert list(backend._free) == [cache]
    assert memory == {bucket: layers[0][1].ctypes.data for bucket, (layers, _) in cache._buckets.items()}


def test_memory_of_finished_sequences_is_bounded_by_number_and_by_size(
    checkpoint: Path, torch_backend: TorchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, positions = list(range(FIRST_BUCKET + 20)), np.tile(np.arange(FIRST_BUCKET + 20), (3, 1))
    backend = OnnxBackend(GraphStore(checkpoint, Precision.named("fp32")), threads=1)
    for made in (backend, torch_backend):
        open_at_once = [made.start() for _ in range(SPARE_CACHES + 3)]
        for sequence in open_at_once:
            sequence.extend(ids[:20], positions[:, :20])
        del open_at_once, sequence
        assert len(made._free) == SPARE_CACHES
    sequence = backend.start()
    first = sequence.extend(ids[:20], positions[:, :20])
    monkeypatch.setattr(onnx_module, "_SMALL_CACHE", 0)
    grown = sequence.extend(ids[20:], positions[:, 20:])
    assert list(sequence._cache._buckets) == [FIRST_BUCKET * 3 // 2]  # as no more than one is kept of a large model
    again = backend.start()
    np.testing.assert_array_equal(again.extend(ids[:20], positions[:, :20]), first)
    np.testing.assert_array_equal(again.extend(ids[20:], positions[:, 20:]), grown)


@pytest.mark.parametrize(("most_tokens", "most_rows"), [(1 << 20, 64), (7, 64), (1 << 20, 5), (16, 3)])
def test_a_chunk_that_takes_several_passes_gives_the_logits_of_one(
    onnx_backend: OnnxBackend, most_tokens: int, most_rows: int
) -> None:
    ids, positions = list(range(30, 70)), np.tile(np.arange(40), (3, 1))
    whole = onnx_backend.start().extend(ids, positions, rows=12)
    parts = CachedSequence(
        onnx_backend.config.text, onnx_backend.graphs.table, OnnxCache(onnx_backend), 4096, most_tokens, most_rows
    )
    np.testing.assert_allclose(parts.extend(ids, positions, rows=12), whole, atol=1e-4)
    assert parts.length == 40


def test_past_and_present_are_the_same_memory_and_no_step_copies_it(
    onnx_backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's own profile: writing one token to a cache of 64 MB takes a small part of the time to copy it."""
    text = onnx_backend.config.text
    length = (64 << 20) // (2 * text.num_hidden_layers * text.num_key_value_heads * text.head_size * 4)
    cache = OnnxCache(onnx_backend)
    cache.reserve(length, 0)
    bound: list[tuple[str, int]] = []

    class Recorder:
        def bind_input(self, name: str, *place: object) -> None:
            bound.append((name, int(place[-1])))

        bind_output = bind_input

    cache.bind(Recorder())
    addresses = dict(bound)
    for name, address in bound:
        assert addresses[name.replace("past", "present")] == address
    source = [np.ones_like(values) for _, values in cache._layers]
    started = time.perf_counter()
    for copy, (_, values) in zip(source, cache._layers, strict=True):
        np.copyto(values, copy)
    copying = time.perf_counter() - started
    assert scatter_seconds(onnx_backend, cache, length) < 0.05 * copying
    for _, values in cache._layers:
        changed = (values != 1).any(axis=(0, 1, 3))
        assert np.flatnonzero(changed).tolist() == [100]


def scatter_seconds(backend: OnnxBackend, cache: OnnxCache, length: int) -> float:
    """Time that the cache's updates take in one step at token 100, by the runtime's profile."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.log_severity_level = 3
    options.profile_file_prefix = str(backend.graphs.decoder().path.parent.parent / "profile")
    plain, backend.decoder = (
        backend.decoder,
        onnxruntime.InferenceSession(str(backend.graphs.decoder().path), options, providers=["CPUExecutionProvider"]),
    )
    try:
        text = backend.config.text
        zeros = np.zeros((1, text.hidden_size), np.float32)
        turn = np.ones((1, text.head_size // 2), np.float32)
        cache.run(Chunk(zeros, turn, turn, 100, np.array([0])), length)
        events = json.loads(Path(backend.decoder.end_profiling()).read_text())
    finally:
        backend.decoder = plain
    writes = [e for e in events if e.get("args", {}).get("op_name") == "TensorScatter" and "dur" in e]
    assert len(writes) == 2 * text.num_hidden_layers
    return sum(e["dur"] for e in writes) / 1e6


@pytest.mark.parametrize(("precision", "loss"), [("fp16", 0.02), ("int8", 0.05), ("int4", 0.35)])
def test_lower_precisions_lose_what_they_may(
    checkpoint: Path, torch_backend: TorchBackend, image: VisionInput, precision: str, loss: float
) -> None:
    """Relative error of the logits behind a prompt; random weights, whose logits lie closer than trained ones."""
    backend = OnnxBackend(GraphStore(checkpoint, Precision.named(precision)), threads=1)
    rows, reference = replies(backend, image), replies(torch_backend, image)
    error = np.linalg.norm(rows - reference) / np.linalg.norm(reference)
    assert 1e-6 < error < loss


def test_integer_weights_run_as_integers(checkpoint: Path) -> None:
    """Every product of the decoder, the head's too, is fused to the integer kernel."""
    import onnx
    import onnxruntime

    backend = OnnxBackend(GraphStore(checkpoint, Precision.named("int4")), threads=1)
    path = backend.graphs.decoder().path
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_name("optimised.onnx"))
    onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["MatMulAddFusion"]
    )
    kinds = [n.op_type for n in onnx.load(options.optimized_model_filepath, load_external_data=False).graph.node]
    path.with_name("optimised.onnx").unlink()
    assert kinds.count("MatMulNBits") == 5 * backend.config.text.num_hidden_layers + 1
    assert "DequantizeLinear" not in kinds
    assert "MatMul" not in kinds


def test_a_step_reads_the_graphs_weights_once_and_the_keys_and_values_of_its_context(checkpoint: Path) -> None:
    for precision, width in (("fp16", 2), ("int4", 4)):  # of the cache: integer weights are computed with in fp32
        backend = OnnxBackend(GraphStore(checkpoint, Precision.named(precision)), threads=1)
        text = backend.config.text
        assert backend.step_bytes(0) == backend.graphs.decoder().path.with_suffix(".data").stat().st_size
        cached = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_size * 100
        assert backend.step_bytes(100) - backend.step_bytes(0) == cached * width


def test_graphs_are_exported_once_and_again_for_other_weights(
    checkpoint: Path, image: VisionInput, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from .conftest import small_config, write_checkpoint

    first = GraphStore(checkpoint, Precision.named("fp32"))
    assert first.decoder().path == GraphStore(checkpoint, Precision.named("fp32")).decoder().path
    assert first.vision(image.plan).path != first.decoder().path
    other = write_checkpoint(tmp_path, small_config(rms_norm_eps=1e-5))
    with caplog.at_level(logging.INFO, "n3d.export"):
        assert GraphStore(other, Precision.named("fp32")).decoder().path != first.decoder().path
    assert "exporting the decoder in fp32" in caplog.text


def test_kept_bindings_give_what_new_ones_give(onnx_backend: OnnxBackend) -> None:
    random = np.random.default_rng(0)
    lengths = [3, 1, 3, 3, 1, 200, 3, 1, 200, 3]  # beyond the first bucket of the cache, and back into it
    chunks = [random.integers(0, 500, n).tolist() for n in lengths]
    kept, begin = onnx_backend.start(), 0
    for index, chunk in enumerate(chunks):
        text = [token for before in chunks[:index] for token in before]
        fresh = onnx_backend.start()
        if text:
            fresh.extend(text, np.tile(np.arange(begin), (3, 1)))
        places = np.tile(np.arange(begin, begin + len(chunk)), (3, 1))
        expected = fresh.extend(chunk, places)
        assert kept.extend(chunk, places) == pytest.approx(expected, abs=1e-5)
        begin += len(chunk)
    kept.truncate(3)
    places = np.arange(3, 6) + np.zeros((3, 1), np.int64)
    fresh = onnx_backend.start()
    fresh.extend(chunks[0], places - 3)
    assert kept.extend(chunks[2], places) == pytest.approx(fresh.extend(chunks[2], places), abs=1e-5)


@pytest.mark.parametrize(("asked", "threads"), [(0, 1), (2, 2)])
def test_small_graphs_run_in_one_thread_unless_told(checkpoint: Path, asked: int, threads: int) -> None:
    backend = OnnxBackend(GraphStore(checkpoint, Precision.named("fp32")), threads=asked)
    assert backend.decoder.get_session_options().intra_op_num_threads == threads


def test_too_long_a_sequence_and_a_wrong_number_of_pads_are_refused(
    onnx_backend: OnnxBackend, image: VisionInput
) -> None:
    limit = onnx_backend.config.text.max_position_embeddings
    with pytest.raises(TextTooLongError, match=f"would have {limit + 1} tokens; .*limit is {limit}"):
        onnx_backend.start().extend([1] * (limit + 1), np.zeros((3, limit + 1), np.int64))
    pad = onnx_backend.config.image_token_id
    with pytest.raises(BackendError, match="must have 30 image pads, as many as the image has tokens; got 2"):
        onnx_backend.start().extend([pad, pad], np.zeros((3, 2), np.int64), onnx_backend.encode(image))


def test_what_onnx_runtime_raises_in_a_run_names_the_graph_the_version_and_what_to_do(
    onnx_backend: OnnxBackend, image: VisionInput
) -> None:
    import onnxruntime

    version = onnxruntime.__version__
    said = rf"ONNX Runtime {version} failed to run the %s graph \(fp32\) of .*%s.*; free memory or use .*; .* delete "
    short = replace(image, patches=image.patches[:-4])
    with pytest.raises(BackendError, match=said % ("vision", "dimension")):
        onnx_backend.encode(short)
    cache = OnnxCache(onnx_backend)
    cache.reserve(FIRST_BUCKET, 0)
    text = onnx_backend.config.text
    turn = np.ones((1, text.head_size // 2), np.float32)
    chunk = Chunk(np.zeros((1, text.hidden_size), np.float32), turn, turn, 0, np.array([5]))  # it has no sixth token
    with pytest.raises(BackendError, match=said % ("decoder", "indices")):
        cache.run(chunk, FIRST_BUCKET)


def test_a_load_reads_the_embedding_table_and_not_the_network(
    checkpoint: Path, image: VisionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = replies(OnnxBackend(GraphStore(checkpoint, Precision.named("fp32"))), image)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the whole network was assembled")

    monkeypatch.setattr(graph_module, "load_network", refuse)
    monkeypatch.setattr("n3d_core.network.checkpoint.load_network", refuse)
    np.testing.assert_array_equal(
        replies(OnnxBackend(GraphStore(checkpoint, Precision.named("fp32"))), image), expected
    )


def test_towers_are_bounded_and_each_ratio_gives_what_torch_gives(
    checkpoint: Path, image: VisionInput, torch_backend: TorchBackend
) -> None:
    made = OnnxBackend(GraphStore(checkpoint, Precision.named("fp32")))
    decoder, first = made.memory_bytes, made.encode(image)
    tower, rng = made.memory_bytes - decoder, np.random.default_rng(0)
    for width in range(4, 10, 2):
        for height in (4, 6):
            plan = image_plan(made.config, height, width)
            patches = rng.standard_normal((plan.patches, made.config.vision.patch_values), dtype=np.float32)
            small = VisionInput(patches, np.zeros((plan.patches, 3), np.float32), plan)
            np.testing.assert_allclose(made.encode(small), torch_backend.encode(small).numpy(), atol=1e-4)
    assert len(made._towers) == MOST_TOWERS
    assert made.memory_bytes - decoder < 1.5 * MOST_TOWERS * tower
    np.testing.assert_array_equal(made.encode(image), first)


def test_what_onnx_runtime_says_of_a_binding_reaches_a_user_in_words(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = OnnxBackend(GraphStore(checkpoint, Precision.named("fp32")))
    monkeypatch.setattr(OnnxCache, "bind", lambda *_: made.decoder.run(["no such output"], {}))
    with pytest.raises(BackendError, match="failed to run the decoder graph"):
        made.start().extend([1, 2], np.zeros((3, 2), np.int64))


def test_a_model_that_is_let_go_needs_no_garbage_collector(checkpoint: Path, image: VisionInput) -> None:
    made = OnnxBackend(GraphStore(checkpoint, Precision.named("fp32")), threads=1)
    replies(made, image)
    backend, memory = weakref.ref(made), weakref.ref(made._free[0])
    gc.collect()
    gc.disable()
    try:
        del made
        assert (backend(), memory()) == (None, None)
    finally:
        gc.enable()
