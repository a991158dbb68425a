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
    with pytest.raises(CheckpointError, match=r"'other': no such folder .*known models: .*mine"):
        find_model("other")


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "n3d" / "models"
    for name in ("someone--model", "n3d-vlm"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("someone/model", "someone--model"),
        ("someone--model", "someone--model"),
        ("n3d-vlm", "n3d-vlm"),
        ("yuxinhk/N3D-VLM", "n3d-vlm"),
    ],
)
def test_what_was_downloaded_is_found_by_the_name_that_it_was_asked_for_by(
    downloads: Path, name: str, folder: str
) -> None:
    assert find_model(name) == downloads / folder


def test_a_repository_of_its_own_name_goes_before_the_published_one(downloads: Path) -> None:
    (downloads / "yuxinhk--N3D-VLM").mkdir()
    (downloads / "yuxinhk--N3D-VLM" / "config.json").write_text("{}")
    assert find_model("yuxinhk/N3D-VLM") == downloads / "yuxinhk--N3D-VLM"


def test_a_path_goes_before_a_repository_of_that_name(
    downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "someone" / "model").mkdir(parents=True)
    (tmp_path / "someone" / "model" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert find_model("someone/model").resolve() == tmp_path / "someone" / "model"


@pytest.mark.parametrize(
    "name", ["someone/other", "someone/model/", "/model", "someone/", "../n3d/models/someone--model"]
)
def test_what_was_not_downloaded_is_refused_with_what_is_here(downloads: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"known models: .*n3d-vlm.*someone--model"):
        find_model(name)
