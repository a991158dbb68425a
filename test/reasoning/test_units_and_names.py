"""Lengths and names as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n3d_core.reasoning.facts import named
from n3d_core.reasoning.lexicon import plural, singulars
from n3d_core.reasoning.units import UNITS, find_lengths, from_metres, length_text, to_metres, unit_symbol


@given(st.floats(0.01, 100), st.sampled_from(sorted(UNITS)))
def test_a_length_survives_being_written_and_read(metres, unit):
    (length,) = find_lengths(length_text(metres, unit))
    assert length.unit == unit
    assert length.metres == pytest.approx(metres, abs=length.resolution * 1.0001 + 1e-9)
    assert from_metres(to_metres(metres, unit), unit) == pytest.approx(metres)


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("0.91 meters", 0.91),
        ("91cm", 0.91),
        ("910 mm", 0.91),
        ("5 feet 3 inches", 1.6002),
        ("5'3\"", 1.6002),
        ("three", None),
        ("2.5-meter", 2.5),
        ("36 in", 0.9144),
        ("1 metre", 1.0),
        ("4 inside", None),
        ("-0.5 m", -0.5),
    ],
)
def test_lengths_in_free_text(text, metres):
    found = find_lengths(f"It is {text}, I think.")
    assert [f.metres for f in found] == ([] if metres is None else [pytest.approx(metres)])


def test_unit_words():
    assert [unit_symbol(w) for w in ("Meters", "metre", "cm", "millimetres", "foot", '"', "light-years")] == [
        "m", "m", "cm", "mm", "ft", "in", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "one", ["mug", "box", "vase", "bus", "berry", "person", "shelf", "teddy bear", "glass", "watch"]
)
def test_plurals_are_undone(one):
    assert one in singulars(plural(one))


@pytest.mark.parametrize(
    ("mention", "indices"),
    [
        ("red mug", [0]),
        ("the Red  Mug", [0]),
        ("mug", [0, 1]),
        ("mugs", [0, 1]),
        ("big blue mug", [1]),
        ("4_chair", [2]),
        ("chair", [2]),
        ("chairs", [2]),
        ("red chair", [2]),
        ("5_chair", []),
        ("bottle", []),
        ("red", []),
    ],
)
def test_mentions_find_their_boxes(mention, indices):
    assert named(mention, ["red mug", "blue mug", "4_chair"]) == indices
