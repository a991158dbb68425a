"""Whatever a parser raises for a damaged file is one sentence that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from n3d_core.errors import BagError, CameraError, CheckpointError, N3DError, QueryTimeoutError, reading


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("{}", "KeyError: 'size'"),
        ('{"size": "wide"}', "ValueError: invalid literal for int() with base 10: 'wide'"),
        ('{"size": Infinity}', "OverflowError: cannot convert float infinity to integer"),
        ("[" * 100_000, "RecursionError: maximum recursion depth exceeded"),
        (None, "FileNotFoundError: No such file or directory"),
    ],
)
def test_a_damaged_file_is_named_with_the_reason(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "box.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CheckpointError) as caught, reading(path, "a box", CheckpointError, "; copy it again"):
        int(json.loads(path.read_text())["size"])
    assert str(caught.value).startswith(f"{path}: cannot be read as a box ({reason}")
    assert str(caught.value).endswith("; copy it again")


@pytest.mark.parametrize("error", [CameraError("fx is 0"), QueryTimeoutError("box.json: late")])
def test_errors_of_the_package_stay_what_they_are_and_name_the_file_once(error: N3DError) -> None:
    with pytest.raises(type(error)) as caught, reading("box.json", "a box", BagError, of=(Exception,)):
        raise error
    assert str(caught.value).count("box.json") == 1


def test_other_exceptions_pass() -> None:
    with pytest.raises(ZeroDivisionError), reading("box.json", "a box", BagError, of=(OSError,)):
        raise ZeroDivisionError
