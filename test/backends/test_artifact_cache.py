"""The cache of graphs and engines: built once, whole, checked, and repaired."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from n3d_core.backends.artifact_cache import cache_root, cached, damage
from n3d_core.errors import EngineError

KEY = {"weights": "abc", "sizes": [1, 2]}


def writer(text: str, count: list[int] | None = None):
    def build(folder: Path) -> None:
        if count is not None:
            count.append(1)
        (folder / "engine").write_text(text)

    return build


def test_it_is_built_once_and_found_again(tmp_path: Path) -> None:
    built: list[int] = []
    first = cached("engines", KEY, writer("x", built), tmp_path)
    second = cached("engines", KEY, writer("y", built), tmp_path)
    assert first == second
    assert built == [1]
    assert (second / "engine").read_text() == "x"


def test_another_key_is_another_artifact(tmp_path: Path) -> None:
    assert cached("engines", KEY, writer("x"), tmp_path) != cached(
        "engines", {**KEY, "weights": "d"}, writer("y"), tmp_path
    )


@pytest.mark.parametrize("harm", ["cut", "flip", "remove", "unseal"])
def test_a_damaged_one_is_built_again_and_one_line_says_why(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = cached("engines", KEY, writer("whole"), tmp_path)
    file = folder / "engine"
    if harm == "cut":
        file.write_text("who")
    elif harm == "flip":
        file.write_text("whole".replace("h", "H"))
        os.utime(file, ns=(0, 0))
    elif harm == "remove":
        file.unlink()
    else:
        (folder / "artifact.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        again = cached("engines", KEY, writer("whole"), tmp_path)
    assert (again / "engine").read_text() == "whole"
    assert damage(again, KEY) is None
    reasons = {
        "cut": "engine has 3 bytes instead of 5",
        "flip": "engine is not what was written: its sha256 differs",
        "remove": "engine is missing",
        "unseal": "it cannot be read (JSONDecodeError",
    }
    assert len(caplog.records) == 1
    assert reasons[harm] in caplog.text


def test_a_touched_but_equal_file_is_not_built_again(tmp_path: Path) -> None:
    folder = cached("engines", KEY, writer("x"), tmp_path)
    os.utime(folder / "engine", ns=(1, 1))
    built: list[int] = []
    cached("engines", KEY, writer("y", built), tmp_path)
    assert built == []


def test_a_build_that_fails_or_was_killed_leaves_nothing(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "engine").write_text("ha")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        cached("engines", KEY, half, tmp_path)
    shelf = tmp_path / "engines"
    assert [p.suffix for p in shelf.iterdir()] == [".lock"]
    left = next(shelf.glob("*.lock")).with_suffix(".part")  # what a kill -9 leaves behind
    left.mkdir()
    (left / "engine").write_text("ha")
    assert (cached("engines", KEY, writer("whole"), tmp_path) / "engine").read_text() == "whole"
    assert not left.exists()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "engine").write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EngineError, match="the disk is full; free space there or set XDG_CACHE_HOME"):
        cached("engines", KEY, full, tmp_path)
    assert not list(tmp_path.glob("engines/*.part"))


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"cannot be written .* set XDG_CACHE_HOME"):
        cached("engines", KEY, writer("x"), tmp_path / "file")


def _slow_build(root: Path, queue: multiprocessing.Queue) -> None:
    def build(folder: Path) -> None:
        queue.put(os.getpid())
        time.sleep(0.3)
        (folder / "engine").write_text("x")

    cached("engines", KEY, build, root)


def test_builders_at_the_same_time_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_slow_build, args=(tmp_path, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [w.exitcode for w in workers] == [0] * 4
    queue.get(timeout=5)
    assert queue.empty()


def test_the_place_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "n3d"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/robot")
    assert cache_root() == Path("/home/robot/.cache/n3d")
