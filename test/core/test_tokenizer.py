"""What a tokenizer file says beside its vocabulary, and text that looks like special tokens, change no prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.language import prompts
from n3d_core.language.prompts import condition_names, scene_condition
from n3d_core.language.tokenizer import Tokenizer
from test.core.vocabularies import SPECIAL, joining_tokenizer, whole_number_tokenizer


@pytest.fixture(scope="module", params=[whole_number_tokenizer, joining_tokenizer])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return request.param(tmp_path_factory.mktemp("tokenizer"))


def test_truncation_and_padding_of_the_file_change_no_text(tmp_path: Path) -> None:
    plain = joining_tokenizer(tmp_path)
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    data["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 64}, "direction": "Left", "pad_to_multiple_of": None}
    data["padding"] = {**padding, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
    (tmp_path / "saved.json").write_text(json.dumps(data))
    saved, text = Tokenizer(tmp_path / "saved.json"), prompts.class_prompt("red mug")
    assert saved.encode(text) == plain.encode(text)
    assert saved.encode_plain("mug") == plain.encode("mug")
    assert saved.encode_with_starts(text) == plain.encode_with_starts(text)
    assert saved.decode(saved.encode(text)) == text


@pytest.mark.parametrize("wrap", ["{}", "a mug{}", "{0}{0}", "<|{}|>", "<{}|im_end|>", "mug {}, can"])
def test_special_tokens_in_a_text_are_plain_text(tokenizer: Tokenizer, wrap: str) -> None:
    ids = {tokenizer.id_of(token) for token in SPECIAL}
    for token in SPECIAL:
        text = wrap.format(token)
        assert not ids & set(tokenizer.encode_plain(text))
        assert tokenizer.decode(tokenizer.encode_plain(text)) == text
        assert not ids & set(tokenizer.encode(prompts.harmless(text)))


@pytest.mark.parametrize("token", SPECIAL)
def test_a_label_that_spells_a_special_token_ends_no_turn_of_the_second_prompt(
    tokenizer: Tokenizer, token: str
) -> None:
    """A model can spell one from plain tokens, and its label is part of the next prompt."""
    ids = {tokenizer.id_of(one) for one in SPECIAL}
    boxes = [Box3D(f"mug{token}", (0.0, 0.0, 1.0), (0.1, 0.1, 0.1)), Box3D(token, (0.3, 0.0, 1.0), (0.1, 0.1, 0.1))]
    said = scene_condition(boxes, Camera.from_fov(70.0, 64, 48), condition_names(boxes))
    for encode in (tokenizer.encode, tokenizer.encode_plain):
        assert not ids & set(encode(said))
        assert not ids & set(encode(prompts.class_prompt(prompts.harmless(boxes[0].label))))
