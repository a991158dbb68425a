"""A file appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from n3d_core.atomic_write import atomic_write


def test_the_name_changes_hands_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("before")
    with atomic_write(path) as part:
        part.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_failed_leaves_no_trace(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.json"
    path.write_text("before")

    def fail() -> None:
        with atomic_write(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "a.json") as part:
        part.write_text("x")


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there" / "a.json", tmp_path / "latest.json"
    link.symlink_to(file)
    for text in ("of a link that led nowhere", "again"):
        with atomic_write(link) as part:
            part.write_text(text)
            assert part.parent == file.parent
        assert (link.readlink(), file.read_text()) == (file, text)
    assert sorted(tmp_path.rglob("*")) == [link, file.parent, file]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(pipe) as part:
        part.write_text("x")
    assert os.read(reader, 10) == b"x"
    assert pipe.is_fifo()
    os.close(reader)
