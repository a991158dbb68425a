"""Models are found by path and by name; a name that is none says what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from n3d_core.errors import CheckpointError
from n3d_core.models import find_model


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shelf" / "mine").mkdir(parents=True)
    (tmp_path / "shelf" / "mine" / "config.json").write_text("{}")
    monkeypatch.setenv("N3D_MODELS", str(tmp_path / "shelf"))
    return tmp_path / "shelf"


def test_models_are_found_by_name_and_by_path(shelf: Path) -> None:
    assert find_model("mine") == shelf / "mine"
    assert find_model(str(shelf / "mine")) == shelf / "mine"


@pytest.mark.parametrize(
    "name", ["", " ", "other", "../shelf/mine", "mine/", "a" * 5000, "~nobody-is-called-so", "a\0b"]
)
def test_what_is_no_model_is_refused_by_its_name(shelf: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="model "):
        find_model(name)


def test_the_error_lists_what_there_is(shelf: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'other': no such folder .*shipped: .*mine"):
        find_model("other")
