"""The wheel, installed away from the checkout: the core with its model, and nothing else at the top level."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder), "."]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("n3d_ros-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs the installed wheel's `n3d`; its dependencies are those of this interpreter."""
    folder = tmp_path_factory.mktemp("elsewhere")
    site = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, cwd=folder)

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(site)}
        program = "import sys, n3d_core.cli; sys.stderr.write(n3d_core.__file__ + '\\n'); sys.exit(n3d_core.cli.main())"
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert Path(done.stderr.splitlines()[0]).is_relative_to(site), done.stderr
        return done

    return run


def test_the_wheel_holds_the_core_and_its_model_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"n3d_core", "n3d_ros"}  # n3d_ros: the dist-info
    assert "n3d_core/shipped/n3d-tiny/model.safetensors" in names


def test_the_installed_wheel_finds_objects_with_the_model_it_carries(installed):
    done = installed("ground", str(ROOT / "demo" / "frames"), "all objects", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout.splitlines()[-1])["boxes"]) >= 3


def test_the_doctor_of_the_installed_wheel_names_its_model(installed):
    done = installed("doctor")
    assert done.returncode == 0, done.stderr
    assert "n3d-tiny" in done.stdout
