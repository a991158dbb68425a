"""The cache of graphs and engines: built once, whole, checked, and repaired."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from n3d_core.backends.store import RecentlyUsed, Store, cache_root, damage, remembered_sha256
from n3d_core.errors import ConfigError, EngineError

KEY = {"weights": "abc", "sizes": [1, 2]}


def cached(kind: str, key: dict, build: Any, root: Path, limit: int | None = None) -> Path:
    return Store(root / kind, limit).get("x", key, build).folder


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
        "flip": "engine has changed: its sha256 differs",
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
    assert [p for p in shelf.iterdir() if p.name != ".lock"] == []
    whole = cached("engines", KEY, writer("whole"), tmp_path)
    left = shelf / f".part-{whole.name}"  # what a kill -9 leaves behind
    whole.rename(left)
    assert Store(shelf).artifacts() == []
    assert (cached("engines", KEY, writer("whole"), tmp_path) / "engine").read_text() == "whole"
    assert not left.exists()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "engine").write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EngineError, match="the disk is full; free space there or set XDG_CACHE_HOME"):
        cached("engines", KEY, full, tmp_path)
    assert not list(tmp_path.glob("engines/.part-*"))


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"cannot be written .* set XDG_CACHE_HOME"):
        cached("engines", KEY, writer("x"), tmp_path / "file")
    with pytest.raises(EngineError, match=r"/proc/nothing/engines: cannot be written .* set XDG_CACHE_HOME"):
        cached("engines", KEY, writer("x"), Path("/proc/nothing"))


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


def fill(size: int):
    def build(folder: Path) -> None:
        (folder / "engine").write_bytes(bytes(size))

    return build


def test_the_least_recently_used_goes_when_the_store_is_full_and_never_what_was_just_built(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=3500)
    first = [store.get("x", {"n": n}, fill(800)).folder for n in range(3)]
    for age, folder in zip((30, 20, 10), first, strict=True):
        os.utime(folder / "artifact.json", (time.time() - age,) * 2)
    assert store.get("x", {"n": 0}, fill(800)).folder == first[0]  # used again
    fourth = store.get("x", {"n": 3}, fill(800)).folder
    assert [folder.exists() for folder in (*first, fourth)] == [True, False, True, True]
    huge = store.get("x", {"n": 4}, fill(9000)).folder
    assert [a.folder for a in store.artifacts()] == [huge]


def test_kernels_count_and_go_like_artifacts(tmp_path: Path) -> None:
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "old.kernels").write_bytes(bytes(5000))
    os.utime(kernels / "old.kernels", (1, 1))
    Store(tmp_path, limit=3000).get("x", KEY, fill(100))
    assert list(kernels.iterdir()) == []


def test_a_folder_of_n3d_compile_is_never_emptied_and_the_cache_has_a_bound_that_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = Store(tmp_path / "named")
    folders = [named.get("x", {"n": n}, fill(100_000)).folder for n in range(3)]
    monkeypatch.setenv("N3D_CACHE_GB", "0.00015")
    named.get("x", {"n": 3}, fill(100_000))
    assert all(folder.exists() for folder in folders)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for n in range(3):
        Store().get("x", {"n": n}, fill(100_000))
    assert [a.key for a in Store().artifacts()] == [{"n": 2}]
    monkeypatch.setenv("N3D_CACHE_GB", "plenty")
    with pytest.raises(ConfigError, match="N3D_CACHE_GB must be a number of gigabytes; got 'plenty'"):
        Store().get("x", {"n": 9}, fill(1))


def test_a_store_that_is_read_only_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cached("engines", KEY, writer("x"), tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert cached("engines", KEY, writer("y"), tmp_path) == folder
    found = Store(tmp_path / "engines").find(KEY)
    assert found is not None
    assert found.folder == folder


def test_a_copied_store_is_hashed_once_and_not_at_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from n3d_core.backends import store as module

    folder = cached("engines", KEY, writer("x"), tmp_path)
    copy = tmp_path / "copy" / folder.name
    shutil.copytree(folder, copy, copy_function=shutil.copy)  # with times of its own
    hashed: list[Path] = []
    plain = module.sha256_of
    monkeypatch.setattr(module, "sha256_of", lambda path: (hashed.append(path), plain(path))[1])
    for _ in range(3):
        assert Store(tmp_path / "copy").find(KEY) is not None
    assert [path.name for path in hashed] == ["engine"]
    (copy / "engine").write_text("y")
    assert Store(tmp_path / "copy").find(KEY) is None


def test_a_remembered_hash_is_forgotten_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = remembered_sha256(file)
    assert remembered_sha256(file) == first
    file.write_bytes(b"two")
    os.utime(file, ns=(5, 5))
    assert remembered_sha256(file) != first


def test_notes_of_a_build_are_kept_with_it(tmp_path: Path) -> None:
    def build(folder: Path) -> dict[str, int]:
        (folder / "engine").write_text("x")
        return {"layers": 3}

    made = Store(tmp_path).get("x", KEY, build)
    assert (made.key, made.notes, list(made.files)) == (KEY, {"layers": 3}, ["engine"])
    assert Store(tmp_path).artifacts() == [made]


def test_what_is_loaded_is_bounded_by_number_and_by_size_and_the_oldest_use_goes() -> None:
    kept: RecentlyUsed[str] = RecentlyUsed(3, 100)
    loaded: list[str] = []

    def get(name: str, size: int) -> str:
        return kept.get(name, lambda: (loaded.append(name) or name, size))

    for name, size in (("a", 10), ("b", 20), ("c", 30), ("a", 10), ("d", 40)):
        assert get(name, size) == name
    assert (loaded, len(kept), kept.bytes) == (["a", "b", "c", "d"], 3, 80)  # b went: a was used again
    get("b", 20)
    assert (loaded[4:], kept.bytes) == (["b"], 70)
    get("huge", 1000)
    assert (len(kept), kept.bytes) == (1, 1000)


def test_what_is_loaded_does_not_wait_for_what_is_being_loaded() -> None:
    kept: RecentlyUsed[str] = RecentlyUsed(2, 100)
    kept.get("here", lambda: ("here", 10))
    begun, done = threading.Event(), threading.Event()

    def slow() -> tuple[str, int]:
        begun.set()
        assert done.wait(30)
        return "new", 20

    loads = [threading.Thread(target=kept.get, args=("new", slow)) for _ in range(2)]
    for thread in loads:
        thread.start()
    assert begun.wait(30)
    assert (kept.get("here", lambda: ("again", 1)), kept.bytes) == ("here", 10)
    done.set()
    for thread in loads:
        thread.join(30)
    assert (kept.get("new", lambda: ("again", 1)), len(kept), kept.bytes) == ("new", 2, 30)
