"""The installed programs find the interpreter that has torch, wherever their prefix has been moved."""

import os
import subprocess
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parents[2] / "tools" / "node.sh.in"


def install(prefix: Path, venv_from_prefix: str) -> Path:
    """The program as CMake installs it."""
    program = prefix / "lib" / "n3d_ros" / "grounding_node"
    program.parent.mkdir(parents=True)
    text = TEMPLATE.read_text().replace("@NODE@", "grounding_node").replace("@VENV_FROM_PREFIX@", venv_from_prefix)
    program.write_text(text)
    program.chmod(0o755)
    return program


def interpreter(folder: Path) -> Path:
    """Something that tells how it was started."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$0 $*"\n')
    python.chmod(0o755)
    return python


def started(program: Path, **environment: str) -> tuple[Path, str]:
    """The interpreter that a program was started with, and its arguments."""
    ran = subprocess.run([str(program), "--x"], env={**os.environ, **environment}, capture_output=True, text=True)
    python, _, arguments = ran.stdout.strip().partition(" ")
    return Path(python).resolve(), arguments


@pytest.mark.parametrize(
    "venv",
    ["ws/src/n3d_ros/.venv", "ws/install/n3d_ros/.venv", "ws/install/.venv"],
    ids=["sources", "prefix", "beside"],
)
def test_a_moved_workspace_takes_its_venv_along(tmp_path, venv):
    install(tmp_path / "ws" / "install" / "n3d_ros", "../../src/n3d_ros/.venv")
    interpreter(tmp_path / venv)
    moved = (tmp_path / "ws").rename(tmp_path / "moved")
    python, arguments = started(moved / "install" / "n3d_ros" / "lib" / "n3d_ros" / "grounding_node", N3D_PYTHON="")
    assert python == moved / Path(venv).relative_to("ws") / "bin" / "python"
    assert arguments == "-m n3d_ros grounding_node --x"


def test_an_interpreter_that_is_named_goes_first_and_without_any_it_is_python3(tmp_path):
    program = install(tmp_path / "prefix", ".venv")
    interpreter(tmp_path / "prefix" / ".venv")
    named = interpreter(tmp_path / "other")
    assert started(program, N3D_PYTHON=str(named))[0] == named
    bare = install(tmp_path / "bare" / "install" / "n3d_ros", "../../src/n3d_ros/.venv")
    path = interpreter(tmp_path / "path").rename(tmp_path / "path" / "bin" / "python3").parent
    assert started(bare, N3D_PYTHON="", PATH=f"{path}:{os.environ['PATH']}")[0] == path / "python3"
