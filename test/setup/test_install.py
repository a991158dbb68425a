"""What `colcon build` installs, plain and with --symlink-install: interfaces, modules, programs and shared files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: run `make test`")
pytestmark = [pytest.mark.ros, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
COLCON = Path(sys.executable).with_name("colcon")


@pytest.fixture(scope="module", params=[(), ("--symlink-install",)], ids=["plain", "symlink"])
def prefix(request, tmp_path_factory):
    """The prefix of n3d_ros after one build of this checkout."""
    base = tmp_path_factory.mktemp("colcon")
    command = [str(COLCON), "--log-base", f"{base}/log", "build", "--paths", str(ROOT), *request.param]
    command += ["--build-base", f"{base}/build", "--install-base", f"{base}/install"]
    command += ["--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}", "-DBUILD_TESTING=OFF"]
    environment = {**os.environ, "CMAKE_PREFIX_PATH": os.environ["AMENT_PREFIX_PATH"], "COLCON_HOME": str(base)}
    built = subprocess.run(command, env=environment, cwd=base, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return base / "install" / "n3d_ros"


def test_messages_and_modules_come_from_the_prefix_and_need_no_torch(prefix, tmp_path):
    (site,) = {path.parents[2] for path in prefix.glob("**/n3d_ros/msg/__init__.py") if "site-packages" in str(path)}
    program = (
        "import sys\n"
        "import n3d_ros.action, n3d_ros.msg, n3d_ros.srv, n3d_ros.outputs.messages, n3d_core.errors\n"
        "assert 'torch' not in sys.modules\n"
        "print(n3d_ros.msg.__file__, n3d_ros.outputs.messages.__file__, n3d_core.__file__, sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert [Path(line).parts[: len(site.parts)] for line in output.splitlines()] == [site.parts] * 3


def test_shared_files_and_programs_are_installed_and_training_is_not(prefix):
    share = prefix / "share" / "n3d_ros"
    for folder in ("config", "demo", "launch", "models", "rviz"):
        here, there = (
            {str(path.relative_to(root)) for path in (root / folder).rglob("*") if path.is_file()}
            for root in (ROOT, share)
        )
        # a link leads to whatever Python has compiled beside the sources
        assert {name for name in here if "__pycache__" not in name} == {n for n in there if "__pycache__" not in n}
    assert not [path for path in prefix.rglob("training*") if path.is_dir()]


def test_interfaces_alone_are_installed_on_demand_and_work_without_the_rest(prefix, tmp_path):
    """The same build tree, configured once more: nothing is compiled again."""
    build = prefix.parents[1] / "build" / "n3d_ros"
    environment = {**os.environ, "CMAKE_PREFIX_PATH": os.environ["AMENT_PREFIX_PATH"]}
    options = ["-DINTERFACES_ONLY=ON", f"-DCMAKE_INSTALL_PREFIX={tmp_path}"]
    for command in (["cmake", *options, str(build)], ["cmake", "--build", str(build), "--target", "install"]):
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    (site,) = {path.parents[2] for path in tmp_path.glob("**/n3d_ros/msg/__init__.py") if "site-packages" in str(path)}
    assert {path.name for path in (site / "n3d_ros").iterdir() if path.is_dir()} - {"__pycache__"} == {
        "action",
        "msg",
        "srv",
    }
    assert not list(tmp_path.rglob("n3d_core")) + list(tmp_path.glob("lib/n3d_ros/*"))
    share = tmp_path / "share" / "n3d_ros"
    assert (share / "package.xml").is_file()
    assert (share / "srv" / "Ground.srv").is_file()
    assert not [name for name in ("models", "demo", "launch") if (share / name).exists()]


@pytest.mark.parametrize("node", ["grounding_node", "camera_node", "bag_node", "composed_node", "page_node"])
def test_a_program_runs_its_module_with_the_interpreter_that_is_asked_for(prefix, node):
    program = prefix / "lib" / "n3d_ros" / node
    environment = {**os.environ, "N3D_PYTHON": "/bin/echo"}
    command = [str(program), "--ros-args", "-p", "x:='two words'"]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert output == f"-m n3d_ros {node} --ros-args -p x:='two words'\n"
