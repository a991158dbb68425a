"""The arithmetic reader: values, chains, and texts that are none."""

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n3d_core.reasoning.expressions import UnreadableError, first_expression, read_chain, whole_expression


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("-2^2", -4),
        ("(-0.3)^2 + 0.4^2", 0.25),
        ("sqrt((-0.3)^2 + 0.4^2)", 0.5),
        ("\u221a(0.3^2 + 0.4^2)", 0.5),
        ("\u221a9", 3),
        ("degrees(atan2(5.81, 9.59)) % 360", 31.21),
        ("12 - (236.31 // 30)", 5),
        ("|(3, 4)|", 5),
        ("|2 - 5|", 3),
        ("(31.2 + 360) % 360", 31.2),
        ("0.3 \u00d7 0.2 \u00d7 1000", 60),
        ("v[1] - v[0]", 1),
        ("norm(v)", math.hypot(1, 2)),
    ],
)
def test_formulas_have_their_value(text, value):
    formula, end = first_expression(text)
    assert end == len(text)
    assert formula.value({"v": (1.0, 2.0)}) == pytest.approx(value, abs=0.005)


@pytest.mark.parametrize(
    "text",
    [
        *("", "+", "(1", "sqrt(", "1/0", "sqrt(0-1)", "9**9", "x", "__import__", "v[7]", "(" * 99, "-" * 5000 + "1"),
        *(
            "'a'",
            "1j",
            "v.real",
            "v(1)",
            "[x for x in v]",
            "sqrt(1, 2)",
            "abs(1) if 1 else 2",
            "9^9^9",
            "True",
            "1 < 2",
        ),
    ],
)
def test_what_has_no_value_is_an_error_and_nothing_else(text):
    with pytest.raises(UnreadableError):
        whole_expression(text).value({"v": (1.0, 2.0)})


@pytest.mark.parametrize("text", ["open('/etc/passwd')", "().__class__", "exec(1)", "lambda: 1", "(a := 1)", "*v"])
def test_no_python_but_arithmetic_is_read(text):
    with pytest.raises(UnreadableError):
        whole_expression(text)


@settings(max_examples=300)
@given(st.text("()[]|+-*/%^.,=<>0123456789 absqrtZ_A\u221a\u00d7\u27e61\u27e7\u2212'\"\n"))
def test_random_texts_never_raise_anything_else(text):
    chain = read_chain(text)
    assert chain is None or len(chain.signs) == len(chain.operands) - 1 >= 1
    with contextlib.suppress(UnreadableError):
        first_expression(text)[0].value({})


def test_numbers_keep_their_signs_and_decimals():
    formula = whole_expression("-0.18 - -0.14 + 3")
    assert [(n.value, n.decimals) for n in formula.numbers] == [(-0.18, 2), (-0.14, 2), (3.0, 0)]
    assert formula.rounding_error() == pytest.approx(0.01)
    assert whole_expression("(-0.5, 0.3)").literal == (-0.5, 0.3)
    assert whole_expression("0.5 - 0.3").literal is None


def test_a_chain_is_read_out_of_its_sentence():
    chain = read_chain("Since Z_A = 2.75 > Z_B = 1.37 Step 2")
    assert chain is not None
    assert [o.text for o in chain.operands] == ["Z_A", "2.75", "Z_B", "1.37"]
    assert chain.signs == ("=", ">", "=")


def test_units_belong_to_their_operand():
    chain = read_chain("So the height of it is 0.1 meters = 3.94 inches")
    assert chain is not None
    assert [(o.text, o.unit) for o in chain.operands] == [("0.1", "m"), ("3.94", "in")]
