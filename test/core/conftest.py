"""What the tests of decoding and of its grammars share."""

from __future__ import annotations

import pytest

from n3d_core.language.box_grammar import BoxVocabulary
from n3d_core.language.tokenizer import Tokenizer
from test.core.vocabularies import joining_tokenizer, whole_number_tokenizer


@pytest.fixture(scope="module", params=["whole", "joining"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Both kinds of vocabulary."""
    make = {"whole": whole_number_tokenizer, "joining": joining_tokenizer}[request.param]
    return make(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def words(tokenizer: Tokenizer) -> BoxVocabulary:
    """What a grammar knows of the vocabulary."""
    return BoxVocabulary(tokenizer, tokenizer.size, frozenset({tokenizer.id_of("<|im_end|>")}))
