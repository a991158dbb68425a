"""Exported graphs: checked by onnx, equal to torch in every spelling, and within what TensorRT 10.3 takes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from n3d_core.backends.export.dialect import refusals
from n3d_core.backends.export.graph import GRAPH_VERSION, Graph, NetworkWeights, export_decoder, export_vision
from n3d_core.backends.export.precision import Precision
from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.network.preprocess import VisionInput

from .conftest import random_network, small_config

TOKENS, CACHED, CAPACITY = 9, 17, 40


def run(graph: Graph, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph.path), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))


def decoder_feed(graph: Graph, capacity: int = CAPACITY, visible: int = CAPACITY) -> dict[str, np.ndarray]:
    """A chunk behind a cache of random keys and values."""
    rng = np.random.default_rng(1)
    model = onnx.load(str(graph.path), load_external_data=False)
    sizes = {"T": TOKENS, "S": capacity, "N": visible, "R": 2}
    feed = {}
    for value in model.graph.input:
        shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feed[value.name] = rng.standard_normal(shape).astype(dtype)
    angles = rng.uniform(-3, 3, feed["cos"].shape)
    feed["cos"], feed["sin"] = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    feed["write_indices"] = np.array([CACHED])
    feed["rows"] = np.array([2, TOKENS - 1])
    feed["mask"] = (np.arange(visible) <= CACHED + np.arange(TOKENS)[:, None])[None, None]
    return feed


@pytest.mark.parametrize("lowered", [False, True], ids=["opset24", "opset19"])
@pytest.mark.parametrize(("pe_order", "points"), [("aligned", "mean"), ("row_major", "mean"), ("aligned", "valid")])
def test_the_vision_graph_gives_torchs_tokens(
    tmp_path: Path, image: VisionInput, lowered: bool, pe_order: str, points: str
) -> None:
    from dataclasses import replace

    from n3d_core.network.plan import image_plan

    network = random_network(replace(small_config(), pe_order=pe_order, points=points))
    plan = image_plan(network.config, 10, 12)
    taken = VisionInput(image.patches, image.coordinates, plan)
    graph = export_vision(NetworkWeights(network), plan, tmp_path, Precision.named("fp32"), lowered)
    found = run(graph, {"patches": taken.patches[None], "coordinates": taken.coordinates[None]})["tokens"][0]
    np.testing.assert_allclose(found, TorchBackend(network).encode(taken).numpy(), atol=2e-5)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int4"])
def test_the_lowered_decoder_equals_the_canonical_one(tmp_path: Path, precision: str) -> None:
    weights = NetworkWeights(random_network(small_config()))
    found = []
    for lowered in (False, True):
        folder = tmp_path / str(lowered)
        folder.mkdir()
        graph = export_decoder(weights, folder, Precision.named(precision), lowered)
        found.append(run(graph, decoder_feed(graph)))
    tolerance = 2e-2 if precision == "fp16" else 1e-5
    assert found[0].keys() == found[1].keys()
    for name, values in found[0].items():
        np.testing.assert_allclose(found[1][name], values, atol=tolerance, err_msg=name)


def test_the_graph_of_fixed_capacity_reads_the_slots_that_the_mask_spans(tmp_path: Path) -> None:
    """TensorRT's form, run at full length and at a shorter bucket, against the symbolic form."""
    weights = NetworkWeights(random_network(small_config()))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    symbolic = export_decoder(weights, tmp_path / "a", Precision.named("fp32"))
    fixed = export_decoder(weights, tmp_path / "b", Precision.named("fp32"), capacity=CAPACITY)
    feed = decoder_feed(symbolic)
    full = run(symbolic, feed)
    short = {**feed, "mask": feed["mask"][..., : CACHED + TOKENS]}
    for given in (feed, short):
        found = run(fixed, given)
        np.testing.assert_allclose(found["logits"], full["logits"], atol=1e-5)
        np.testing.assert_array_equal(found["present_key.1"], full["present_key.1"])


def test_the_cache_is_written_at_the_index_and_nowhere_else(tmp_path: Path) -> None:
    weights = NetworkWeights(random_network(small_config()))
    for lowered in (False, True):
        graph = export_decoder(weights, tmp_path, Precision.named("fp32"), lowered)
        feed = decoder_feed(graph)
        present = run(graph, feed)["present_value.0"]
        changed = (present != feed["past_value.0"]).any(axis=(0, 1, 3))
        assert np.flatnonzero(changed).tolist() == list(range(CACHED, CACHED + TOKENS))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "int4"])
def test_tensorrt_10_3_takes_every_operator_and_type_of_the_lowered_graphs(
    tmp_path: Path, image: VisionInput, precision: str
) -> None:
    weights = NetworkWeights(random_network(small_config()))
    chosen = Precision.named(precision, "fp16")
    for graph in (
        export_vision(weights, image.plan, tmp_path, chosen, lowered=True),
        export_decoder(weights, tmp_path, chosen, lowered=True),
    ):
        assert refusals(graph.path) == []


def test_the_canonical_graph_is_refused_by_the_list_of_tensorrt_10_3(tmp_path: Path) -> None:
    weights = NetworkWeights(random_network(small_config()))
    found = refusals(export_decoder(weights, tmp_path, Precision.named("fp16")).path)
    for name in ("Attention", "RotaryEmbedding", "TensorScatter", "RMSNormalization"):
        assert f"operator {name} is not supported" in found
    assert any(line.startswith("opset 24") for line in found)


def test_the_list_of_tensorrt_10_3_looks_at_integers_and_booleans_too(tmp_path: Path) -> None:
    """It holds a product of int64 and a sine of booleans for what they are: not taken."""
    helper = onnx.helper
    nodes = [helper.make_node("MatMul", ["a", "a"], ["b"]), helper.make_node("Sin", ["c"], ["d"])]
    values = {
        name: helper.make_tensor_value_info(name, kind, [2, 2])
        for name, kind in {"a": 7, "b": 7, "c": 9, "d": 9}.items()
    }
    graph = helper.make_graph(nodes, "g", [values["a"], values["c"]], [values["b"], values["d"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    found = refusals(tmp_path / "g.onnx")
    assert found == ["operator MatMul is not supported for INT64", "operator Sin is not supported for BOOL"]


def test_the_last_vision_mlp_stays_finite_where_fp16_overflows(tmp_path: Path, image: VisionInput) -> None:
    """A product beyond 65,504 before the last down-projection, as the released tower has."""
    network = random_network(small_config())
    last = network.visual.blocks[-1].mlp
    last.up_proj.weight.mul_(60000)
    last.down_proj.weight.div_(300)
    reference = TorchBackend(network).encode(image).numpy()
    weights = NetworkWeights(network)
    graph = export_vision(weights, image.plan, tmp_path, Precision.named("fp16"))
    found = run(graph, {"patches": image.patches[None], "coordinates": image.coordinates[None]})["tokens"][0]
    assert np.isfinite(found).all()
    assert np.abs(found - reference).max() < 0.02 * np.abs(reference).max()


def test_equal_weights_give_equal_graphs_and_other_weights_others(tmp_path: Path) -> None:
    hashes = []
    for seed in (0, 0, 1):
        weights = NetworkWeights(random_network(small_config(), seed))
        hashes.append(export_decoder(weights, tmp_path, Precision.named("fp32")).sha256)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("lowered", [False, True], ids=["opset24", "opset19"])
def test_the_graphs_are_those_of_their_version(tmp_path: Path, image: VisionInput, lowered: bool) -> None:
    """Graphs and engines are kept by this version: who changes what is written raises `GRAPH_VERSION`, then this."""
    weights, chosen = NetworkWeights(random_network(small_config())), Precision.named("fp16")
    spelled = []
    for graph in (
        export_vision(weights, image.plan, tmp_path, chosen, lowered),
        export_decoder(weights, tmp_path, chosen, lowered, None if lowered else CAPACITY),
    ):
        model = onnx.load(str(graph.path), load_external_data=False).graph
        spelled += [
            (n.op_type, *n.input, "", *n.output, *(a.SerializeToString() for a in n.attribute)) for n in model.node
        ]
        spelled += [(value.name, value.type.SerializeToString()) for value in [*model.input, *model.output]]
    digest = hashlib.sha256(repr(spelled).encode()).hexdigest()[:12]
    assert (GRAPH_VERSION, digest) == (1, "16dea685505c" if lowered else "6bc31f206d24")


def test_an_untied_head_is_exported_as_itself(tmp_path: Path) -> None:
    network = random_network(small_config(tie_word_embeddings=False))
    graph = export_decoder(NetworkWeights(network), tmp_path, Precision.named("fp32"))
    feed = decoder_feed(graph)
    before = run(graph, feed)["logits"]
    network.lm_head.weight.mul_(2)
    after = run(export_decoder(NetworkWeights(network), tmp_path, Precision.named("fp32")), feed)["logits"]
    np.testing.assert_allclose(after, 2 * before, rtol=1e-4, atol=1e-5)
