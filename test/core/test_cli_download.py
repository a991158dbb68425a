"""`n3d download` against a hub on this machine: whole, interrupted, altered and unknown repositories."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from n3d_core.models import find_model
from test.core.hub_server import COMMIT, Repository, serving

pytest.importorskip("huggingface_hub")
ROOT = Path(__file__).parents[2]


def repository() -> Repository:
    weights = bytes(range(256)) * 4096  # 1 MiB
    files = {"config.json": b"{}", "model.safetensors": weights, "code.py": b"print('never')", "weights.bin": b"pickle"}
    return Repository("someone/model", files, large={"model.safetensors"})


def download(endpoint: str, *arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache / "hf"), "XDG_CACHE_HOME": str(cache)}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "n3d_core.cli", "download", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=False)


def test_a_repository_is_fetched_without_code_and_pickles_and_every_file_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = repository()
    with serving(hub) as endpoint:
        done = download(endpoint, "someone/model", cache=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "n3d" / "models" / "someone--model"
    assert done.stdout.splitlines()[-1] == str(folder)
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert f"someone/model at {COMMIT}: 2 files" in done.stderr
    assert "model.safetensors: 1.0 MB, verified" in done.stderr
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_model("someone/model") == folder


def test_a_download_that_broke_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    hub = repository()
    hub.files["model.safetensors"] = bytes(24_000_000)  # the client writes 10 MiB at a time
    hub.stop_at["model.safetensors"] = 15_000_000
    folder = tmp_path / "here"
    with serving(hub) as endpoint:
        broken = download(endpoint, "someone/model", "--to", str(folder), cache=tmp_path)
        assert broken.returncode == 1
        assert "run the command again to resume" in broken.stderr
        assert not (folder / "model.safetensors").exists()
        assert (folder / "model.safetensors.part").stat().st_size == 10 << 20
        hub.stop_at.clear()
        hub.ranges.clear()
        done = download(endpoint, "someone/model", "--to", str(folder), cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert hub.ranges == [f"bytes={10 << 20}-23999999"] or hub.ranges == [f"bytes={10 << 20}-"]
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert "config.json is already downloaded and verified" in done.stderr


def test_a_part_that_is_larger_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    """As one of another revision is: a range that begins past the end would fail on every run."""
    hub, folder = repository(), tmp_path / "here"
    folder.mkdir()
    for name, data in hub.files.items():
        (folder / f"{name}.part").write_bytes(data + b"more")
    with serving(hub) as endpoint:
        done = download(endpoint, "someone/model", "--to", str(folder), cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert hub.ranges == []
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert not (folder / "model.safetensors.part").exists()


def test_an_altered_file_never_gets_its_name(tmp_path: Path) -> None:
    hub = repository()
    hub.altered.add("model.safetensors")
    with serving(hub) as endpoint:
        done = download(endpoint, "someone/model", "--to", str(tmp_path / "here"), cache=tmp_path)
    assert done.returncode == 1
    assert "the hub states" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["config.json"]


def test_an_unknown_repository_and_a_dead_network_are_clear_errors(tmp_path: Path) -> None:
    with serving(repository()) as endpoint:
        unknown = download(endpoint, "someone/else", cache=tmp_path)
    dead = download(endpoint, "someone/model", cache=tmp_path)  # the server is gone
    for done in (unknown, dead):
        assert done.returncode == 1
        assert "could not be fetched" in done.stderr
        assert "Traceback" not in done.stderr


def test_names_are_listed_with_their_licences_and_unknown_ones_refused(tmp_path: Path) -> None:
    listed = download("http://127.0.0.1:1", cache=tmp_path)
    assert listed.returncode == 0
    for words in ("n3d-vlm", "yuxinhk/N3D-VLM", "depth-anything-v2-indoor", "Apache-2.0", "moge-2", "MIT"):
        assert words in listed.stdout
    for option in ("--to", "--revision"):
        nameless = download("http://127.0.0.1:1", option, "x", cache=tmp_path)
        assert (nameless.returncode, nameless.stdout) == (1, "")
        assert nameless.stderr == f"n3d: {option} needs the name of what to download\n"
    refused = download("http://127.0.0.1:1", "nothing", cache=tmp_path)
    assert refused.returncode == 1
    assert "unknown checkpoint 'nothing'" in refused.stderr
