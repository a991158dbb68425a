"""The structured language: what is written is read, and whatever is read is a box or an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n3d_core.errors import UnparsableError
from n3d_core.language.structured import BINS, CODE_TEMPLATE, BoxCode, parse, parse_line, serialise

BIN = st.integers(0, BINS - 1)
LABEL = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda s: " ".join(s.split()))
CODE = st.builds(BoxCode, LABEL, BIN, BIN, BIN, BIN, BIN, BIN, BIN)


@given(st.lists(CODE, max_size=6))
def test_what_is_serialised_is_parsed(codes: list[BoxCode]) -> None:
    assert parse(serialise(codes)) == codes


@given(st.lists(CODE, min_size=1, max_size=4))
def test_parsing_and_serialising_again_changes_nothing(codes: list[BoxCode]) -> None:
    text = serialise(codes)
    assert serialise(parse(text)) == text
    assert text.count("\n") == len(codes) - 1


@given(st.text(max_size=200))
def test_any_text_is_boxes_or_an_error_of_ours(text: str) -> None:
    try:
        codes = parse(text)
    except UnparsableError:
        return
    assert all(0 <= value < BINS for code in codes for value in code.bins)


@pytest.mark.parametrize(
    "label", ["cup (red)", "salt, pepper", "a,1,2,3,4,5,6,7", "bbox_1=Bbox(x", "orange/tangerine", "椅子", ")", ""]
)
def test_a_class_may_hold_commas_and_parentheses(label: str) -> None:
    code = BoxCode(label, 1, 2, 3, 500, 5, 6, 7)
    assert parse(serialise([code, code])) == [code, code]


def test_spaces_collapse_and_bins_are_clipped() -> None:
    line = "  bbox_12=Bbox( hotair     ballon , -4 , 435,126,500, 86,98,4000) "
    assert parse_line(line) == BoxCode("hotair ballon", 0, 435, 126, 500, 86, 98, 999)


@pytest.mark.parametrize(
    "line",
    [
        "bbox_0=Bbox(a,1,2,3,4,5,6)",
        "bbox_0=Bbox(a,1,2,3,4,5,6,7",
        "bbox_0=Bbox(a,1,2,3,4,5,6,7.5)",
        "bbox_0=Bbox(a,1,2,3,4,5,6,nan)",
        "bbox_x=Bbox(a,1,2,3,4,5,6,7)",
        "bbox_0=Bbox(a,1,2,3,4,5,6,7) and more",
        "there is no such object",
        "bbox_0=Bbox(a,1,2,3,4,5,6," + "9" * 5000 + ")",
    ],
)
def test_other_lines_are_errors_that_show_the_line(line: str) -> None:
    with pytest.raises(UnparsableError, match="line 2 of the reply"):
        parse(f"bbox_0=Bbox(a,1,2,3,4,5,6,7)\n{line}")


def test_the_template_is_the_one_of_the_training_data() -> None:
    assert CODE_TEMPLATE.split("\n")[:3] == ["@dataclass", "class Bbox:", "    class: str"]
    assert CODE_TEMPLATE.endswith("    scale_z: int")
    assert len(CODE_TEMPLATE) == 165
