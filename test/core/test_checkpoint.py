"""Checkpoint folders of the released form load; whatever is wrong with one is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from n3d_core.decoding.sampling import GenerationDefaults
from n3d_core.errors import CheckpointError
from n3d_core.language.tokenizer import load_tokenizer
from n3d_core.network.checkpoint import INDEX, WEIGHTS, load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork
from test.core.checkpoints import hub_config, in_newer_spelling, random_state, small_config, write_checkpoint
from test.core.vocabularies import whole_number_tokenizer

CONFIG = small_config()
STATE = random_state(CONFIG)


def folder_of(tmp_path: Path, parts: int = 1, **changes: torch.Tensor) -> Path:
    return write_checkpoint(tmp_path / "model", CONFIG.to_json(), STATE | changes, parts)


def loaded(folder: Path, **options: object) -> dict[str, torch.Tensor]:
    return dict(load_network(folder, **options).named_parameters())


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("spelling", ["hub", "newer"])
def test_every_tensor_arrives_unchanged(tmp_path: Path, parts: int, spelling: str) -> None:
    state = STATE if spelling == "hub" else in_newer_spelling(STATE)
    network = loaded(write_checkpoint(tmp_path, CONFIG.to_json(), state, parts))
    assert network.keys() == STATE.keys()
    assert all(torch.equal(network[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
def test_types_are_kept_or_converted(tmp_path: Path, stored: torch.dtype) -> None:
    folder = write_checkpoint(tmp_path, CONFIG.to_json(), {n: v.to(stored) for n, v in STATE.items()}, parts=2)
    assert {p.dtype for p in loaded(folder, dtype=None).values()} == {stored}
    wide = loaded(folder)
    assert {p.dtype for p in wide.values()} == {torch.float32}
    assert all(torch.equal(wide[name], STATE[name].to(stored).float()) for name in STATE)


@pytest.mark.parametrize("with_copy", [True, False])
def test_tied_embeddings_need_no_head_and_ignore_its_copy(tmp_path: Path, with_copy: bool) -> None:
    config = small_config(tied=True)
    state = random_state(config)
    assert "lm_head.weight" not in state
    copy = {"lm_head.weight": state["model.embed_tokens.weight"].clone()} if with_copy else {}
    network = load_network(write_checkpoint(tmp_path, config.to_json(), state | copy))
    assert network.head_weight is network.model.embed_tokens.weight
    hidden = torch.randn(5, 64)
    assert torch.equal(network.logits(hidden), hidden @ state["model.embed_tokens.weight"].T)


def test_buffers_of_older_tools_are_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, **{"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)})
    assert loaded(folder).keys() == STATE.keys()


def test_what_is_written_is_loaded(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, CONFIG.to_json(), STATE)
    assert N3DConfig.from_file(tmp_path / "config.json") == CONFIG
    assert all(torch.equal(value, STATE[name]) for name, value in loaded(tmp_path).items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.norm.weight": None}, "1 missing: model.norm.weight"),
        ({"model.norm.bias": torch.ones(64)}, "1 not in the configuration: model.norm.bias"),
        ({"model.norm.weight": torch.ones(63)}, r"model.norm.weight must have shape \[64\], got \[63\]"),
        ({n: None for n in STATE if n.startswith("visual.")}, "no vision tower: text-only models are not supported"),
        ({"lm_head.weight": None}, "1 missing: lm_head.weight"),
        ({"model.language_model.norm.weight": torch.ones(64)}, "both map to model.norm.weight"),
        ({"model.norm.weight": torch.ones(64, dtype=torch.int8)}, "model.norm.weight is I8"),
    ],
)
def test_wrong_tensors_are_named(tmp_path: Path, changes: dict[str, torch.Tensor | None], message: str) -> None:
    state = {n: v for n, v in (STATE | changes).items() if v is not None}
    with pytest.raises(CheckpointError, match=message):
        load_network(write_checkpoint(tmp_path, CONFIG.to_json(), state))


def test_a_shard_cut_short_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, parts=2)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002.safetensors: damaged or cut short"):
        load_network(folder)


def test_a_shard_that_is_a_git_lfs_pointer_is_called_so(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        load_network(folder)


def test_exchanged_shards_are_noticed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, parts=2)
    first, second = sorted(folder.glob("model-*.safetensors"))
    shutil.move(first, folder / "aside")
    shutil.move(second, first)
    shutil.move(folder / "aside", second)
    with pytest.raises(CheckpointError, match="shards of different checkpoints are mixed or renamed"):
        load_network(folder)


def test_a_shard_of_another_checkpoint_is_noticed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, parts=2)
    other = write_checkpoint(tmp_path / "other", CONFIG.to_json(), STATE, parts=3)
    shutil.copy(other / "model-00002-of-00003.safetensors", folder / "model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match="shards of different checkpoints are mixed"):
        load_network(folder)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "cannot be read as a shard index"),
        ('{"weight_map": {}}', "cannot be read as a shard index"),
        ('{"weight_map": {"a": "../../etc/passwd"}}', "must name files of this folder"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors missing"),
    ],
)
def test_a_bad_index_is_refused(tmp_path: Path, index: str, message: str) -> None:
    folder = folder_of(tmp_path, parts=2)
    (folder / INDEX).write_text(index)
    with pytest.raises(CheckpointError, match=message):
        load_network(folder)


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("pytorch_model.bin", "pytorch_model.bin is a pickle, which is never read"),
        ("adapter_config.json", "LoRA adapter"),
        ("model-00001-of-00002.safetensors", "it has the shards but no"),
        ("README.md", "download the checkpoint again"),
    ],
)
def test_missing_weights_say_what_is_there_instead(tmp_path: Path, file: str, hint: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_json()))
    (tmp_path / file).write_bytes(b"\x80\x04would be executed by pickle")
    with pytest.raises(CheckpointError, match=hint):
        load_network(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_config": None, "model_type": "qwen2"}, "'qwen2' has no vision_config"),
        ({"model_type": "qwen2_vl"}, "model_type must be .* got 'qwen2_vl'"),
        ({"num_attention_heads": 3}, "a multiple of num_attention_heads"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be .* got 0"),
        ({"hidden_size": "wide"}, "hidden_size must be .* got 'wide'"),
        ({"rope_scaling": {"type": "yarn", "mrope_section": [2, 3, 3]}}, "yarn"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 4]}}, "mrope_section"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"hidden_act": "gelu"}, "hidden_act of the text part must be silu; got 'gelu'"),
        ({"n3d": {"pe_order": "diagonal"}}, "pe_order must be .* got 'diagonal'"),
        ({"n3d": {"points": "median"}}, "points must be .* got 'median'"),
        ({"n3d": {"ratios": ["4:0"]}}, "ratios must be pairs"),
        ({"n3d": {"ratios": [4]}}, "ValueError"),
        ({"n3d": {"image_longest_side": 3}}, "image_longest_side must be .* got 3"),
        ({"vocab_size": 300.0}, r"vocab_size must be a positive whole number; got 300\.0"),
        ({"intermediate_size": 10**30}, "intermediate_size must be a positive whole number; got 10{30}"),
        ({"max_position_embeddings": True}, "max_position_embeddings must be .* got True"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps must be .* got nan"),
        ({"rope_theta": float("inf")}, "rope_theta must be .* got inf"),
        (
            {"vision_config": CONFIG.to_json()["vision_config"] | {"in_channels": 4}},
            "in_channels must be 3 .*got 4",
        ),
    ],
)
def test_configurations_that_would_compute_something_else_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    data = {k: v for k, v in (CONFIG.to_json() | changes).items() if v is not None}
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=message):
        N3DConfig.from_file(tmp_path / "config.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"vision_config": 3}'])
def test_a_damaged_configuration_is_an_error_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config.json"):
        N3DConfig.from_file(tmp_path / "config.json")


def test_a_released_folder_has_the_released_ways() -> None:
    config = N3DConfig.from_json(hub_config("7B"))
    assert (config.pe_order, config.points, config.image_longest_side) == ("row_major", "mean", 640)
    assert config.ratios == ()
    assert not config.text.tie_word_embeddings
    assert N3DConfig.from_json(hub_config("3B")).text.tie_word_embeddings


def test_the_tokenizer_must_be_that_of_the_weights(tmp_path: Path) -> None:
    tokenizer = whole_number_tokenizer(tmp_path)
    ids = {
        "image_token_id": tokenizer.id_of("<|image_pad|>"),
        "vision_start_token_id": tokenizer.id_of("<|vision_start|>"),
        "vision_end_token_id": tokenizer.id_of("<|vision_end|>"),
    }
    (file,) = tmp_path.glob("**/tokenizer.json")
    wide = small_config(**ids)
    wide = N3DConfig.from_json(wide.to_json() | {"vocab_size": tokenizer.size})
    assert load_tokenizer(file.parent, wide).size == tokenizer.size
    with pytest.raises(CheckpointError, match=f"{tokenizer.size} tokens, but the embedding table has 300"):
        load_tokenizer(file.parent, small_config(**ids))
    with pytest.raises(CheckpointError, match=r"<\|image_pad\|> has id .*, but config.json says 7"):
        load_tokenizer(file.parent, N3DConfig.from_json(wide.to_json() | {"image_token_id": 7}))


def penalties(*values: object) -> list[str]:
    return [f'{{"repetition_penalty": {value}}}' for value in values]


def test_generation_defaults_are_read(tmp_path: Path) -> None:
    assert GenerationDefaults.from_folder(tmp_path, CONFIG) == GenerationDefaults((CONFIG.eos_token_id,))
    path = tmp_path / "generation_config.json"
    path.write_text('{"eos_token_id": [291, 290], "do_sample": true, "temperature": 1e-06, "repetition_penalty": 1.05}')
    assert GenerationDefaults.from_folder(tmp_path, CONFIG) == GenerationDefaults((291, 290), 1.05)
    path.write_text('{"box_numbers": "median"}')
    assert GenerationDefaults.from_folder(tmp_path, CONFIG).box_numbers == "median"
    path.write_text('{"eos_token_id": null, "repetition_penalty": null}')
    assert GenerationDefaults.from_folder(tmp_path, CONFIG) == GenerationDefaults((CONFIG.eos_token_id,))
    for damaged in (
        "{",
        "[]",
        '{"box_numbers": "mean"}',
        '{"box_numbers": [1]}',
        '{"eos_token_id": []}',
        '{"eos_token_id": Infinity}',
        *penalties(-1, 0, "NaN", '"x"'),
    ):
        path.write_text(damaged)
        with pytest.raises(CheckpointError, match=r"generation_config.json"):
            GenerationDefaults.from_folder(tmp_path, CONFIG)


@pytest.mark.parametrize("size", ["3B", "7B"])
def test_the_released_sizes_have_their_number_of_parameters(size: str) -> None:
    with torch.device("meta"):
        network = N3DNetwork(N3DConfig.from_json(hub_config(size)))
    billions = sum(p.numel() for p in network.parameters()) / 1e9
    assert billions == pytest.approx({"3B": 3.755, "7B": 8.292}[size], abs=1e-3)


def test_weights_come_before_an_index_as_in_transformers(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, parts=2)
    save_file(STATE, folder / WEIGHTS)
    (folder / INDEX).write_text("not read")
    assert loaded(folder).keys() == STATE.keys()
