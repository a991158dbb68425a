"""`n3d doctor` tells what is there from what is absent and what is broken, and survives modules that crash."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import n3d_core.cli.doctor as doctor
from n3d_core.cli import main
from n3d_core.cli.doctor import ABSENT, BROKEN, OK, Check


def test_this_machine_is_examined_and_the_shipped_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = {f["name"]: f for f in record["findings"]}
    assert record["ok"] is True
    assert {f["area"] for f in record["findings"]} == {"machine", "backends", "model", "ROS", "optional"}
    assert found["n3d-tiny"]["status"] == OK
    assert "loaded in" in found["n3d-tiny"]["found"]
    assert found["Python"]["found"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    for finding in record["findings"]:
        assert finding["status"] in (OK, ABSENT, BROKEN)
        assert finding["status"] == OK or finding["advice"], finding["name"]


def test_a_model_that_does_not_load_is_exit_code_1_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_ros", lambda: iter(()))  # its imports are tested above, and take a while
    (tmp_path / "config.json").write_text("{}")
    assert main(["doctor", "--model", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "!!" in shown
    assert "n3d download" in shown
    assert shown.splitlines()[-1].startswith("n3d does not run here yet")


def test_absent_broken_and_crashing_modules_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fine_module.py").write_text("")
    (tmp_path / "broken_module.py").write_text("raise AttributeError('_ARRAY_API not found')")
    (tmp_path / "crashing_module.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor._probe(["fine_module", "crashing_module", "broken_module", "no_such_module"])
    assert found["fine_module"][0] is True
    assert found["crashing_module"] == (False, "the import ended Python with exit code -6")
    assert found["broken_module"] == [False, "AttributeError: _ARRAY_API not found"]
    assert found["no_such_module"][1].startswith("ModuleNotFoundError")


def test_a_finding_says_absent_for_missing_and_broken_for_failing() -> None:
    def missing() -> str:
        raise ModuleNotFoundError("No module named 'x'")

    def failing() -> str:
        raise RuntimeError("driver too old")

    assert doctor._attempt("backends", "x", missing, "install x") == Check("backends", "x", ABSENT, "", "install x")
    broken = doctor._attempt("backends", "x", failing, "update")
    assert (broken.status, broken.found) == (BROKEN, "RuntimeError: driver too old")


@pytest.mark.parametrize(
    ("found", "status"), [("4.14.0", OK), ("5.0.1", BROKEN), ("/usr/lib/python3/dist-packages", OK), ("", OK)]
)
def test_an_opencv_that_breaks_cv_bridge_is_named(found: str, status: str) -> None:
    """A distribution's own has no version in its metadata: its folder is shown."""
    assert doctor._too_new(Check("machine", "cv2", OK, found)).status == status


def test_whatever_a_model_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("n3d_core.n3d.N3D.load", fails)
    (finding,) = doctor._model("n3d-tiny")
    assert (finding.status, finding.needed, finding.found) == (BROKEN, True, "MemoryError: no room")
