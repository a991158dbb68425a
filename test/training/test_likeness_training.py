"""The network that knows questions by their wordings: what it is trained on, and how it reads what it was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n3d_core.reasoning.likeness import REFUSED, Network
from training.likeness import (
    FOLDER,
    Wordings,
    examples,
    fitted,
    joined,
    mirrored,
    read_wordings,
    reading,
    save_network,
)  # fmt: skip


@pytest.fixture(scope="module")
def wordings() -> dict[str, Wordings]:
    return {path.stem: read_wordings(path) for path in sorted(FOLDER.glob("*.txt"))}


@pytest.fixture(scope="module")
def network(wordings: dict[str, Wordings]) -> Network:
    """Trained on some of the plain questions by all voices but one."""
    return fitted(
        examples(mirrored(joined([_some(w) for name, w in wordings.items() if name != "everyday"]))), epochs=12
    )


def _some(wordings: Wordings) -> Wordings:
    return {plain: lines for i, (plain, lines) in enumerate(wordings.items()) if plain == REFUSED or i % 4 == 0}


def test_a_voice_that_it_has_not_heard_is_read(network: Network, wordings: dict[str, Wordings]) -> None:
    shares = reading(network, examples(_some(wordings["everyday"])))

    assert shares["read"] > 0.6
    assert shares["right"] > 0.9
    assert shares["refused"] > 0.8


def test_it_is_read_back_as_it_was_trained(network: Network, wordings: dict[str, Wordings], tmp_path: Path) -> None:
    save_network(network, tmp_path / "network.safetensors")
    back = Network.load(tmp_path / "network.safetensors")

    assert back.classes == tuple(network.classes)
    assert back.features == network.features
    for tokens, _ in examples(_some(wordings["everyday"]))[:200]:
        np.testing.assert_allclose(back.probabilities(tokens), network.probabilities(tokens), atol=0.03)


def test_what_ships_knows_what_is_listed(wordings: dict[str, Wordings]) -> None:
    shipped, known = Network.shipped(), examples(joined(list(wordings.values())))

    assert set(shipped.classes) == {plain for _, plain in examples(mirrored(joined(list(wordings.values()))))}
    right = [shipped.classes[int(shipped.probabilities(tokens).argmax())] == plain for tokens, plain in known]
    assert np.mean(right) > 0.97


def test_objects_are_numbered_as_they_are_named_and_equal_questions_are_one() -> None:
    said = examples({"Is {a} right of {b}?": ["would i find {b} to the left of {a}"], "Is {a} left of {b}?": []})

    assert said == [
        (("is", "{o1}", "right", "of", "{o2}", "?"), "Is {o1} right of {o2}?"),
        (("would", "i", "find", "{o1}", "to", "the", "left", "of", "{o2}"), "Is {o1} left of {o2}?"),
        (("is", "{o1}", "left", "of", "{o2}", "?"), "Is {o1} left of {o2}?"),
    ]


def test_mirrored_wordings_belong_to_the_mirrored_question() -> None:
    listed = {"What is left of {a}?": ["name what's on the left of {a}"], "What is right of {a}?": []}

    assert mirrored(listed)["What is right of {a}?"] == ["name what's on the right of {a}"]


def test_a_wording_with_other_slots_is_refused(tmp_path: Path) -> None:
    (tmp_path / "voice.txt").write_text("= How far is {a} from {b}?\nhow far off is {a}\n")

    with pytest.raises(ValueError, match=r"voice.txt: 'how far off is \{a\}' stands below"):
        read_wordings(tmp_path / "voice.txt")
