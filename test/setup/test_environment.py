"""The set-up behind `make`: what it does again after a change or an interruption, and which ROS 2 it chooses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOLS = Path(__file__).parents[2] / "tools" / "environment"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    names = ("activation", "ledger", "ros_source", "running", "steps", "wheel_paths")
    return SimpleNamespace(**{name: __import__(name) for name in names})


STEP_NAMES = ("venv", "packages", "interfaces", "n3d")


@pytest.fixture
def steps(tools):
    return [tools.steps.Step(name, name, f"key of {name}", lambda: None, name == "packages") for name in STEP_NAMES]


def finish(ledger, steps):
    for step in steps:
        with ledger.doing(step, {}):
            pass


def todo(tools, venv, steps):
    return [step.name for step in tools.ledger.Ledger(venv).unfinished(steps)]


def test_nothing_is_left_to_do_after_all_steps_are_done(tools, steps, tmp_path):
    assert todo(tools, tmp_path, steps) == list(STEP_NAMES)
    finish(tools.ledger.Ledger(tmp_path), steps)
    assert todo(tools, tmp_path, steps) == []


def test_a_changed_input_redoes_its_step_and_those_after_it(tools, steps, tmp_path):
    finish(tools.ledger.Ledger(tmp_path), steps)
    steps[2] = tools.steps.Step("interfaces", "", "another key", lambda: None)
    assert todo(tools, tmp_path, steps) == ["interfaces", "n3d"]


@pytest.mark.parametrize(("interrupted", "expected"), [(1, list(STEP_NAMES)), (2, ["interfaces", "n3d"])])
def test_an_interrupted_step_is_redone_and_half_installed_packages_are_not_trusted(
    tools, steps, tmp_path, interrupted, expected
):
    ledger = tools.ledger.Ledger(tmp_path)
    finish(ledger, steps)
    with pytest.raises(KeyboardInterrupt), ledger.doing(steps[interrupted], {}):
        raise KeyboardInterrupt
    assert todo(tools, tmp_path, steps) == expected


def test_a_damaged_ledger_counts_as_nothing_done(tools, steps, tmp_path):
    (tmp_path / "n3d_setup.json").write_text('{"done": {"venv"')
    assert todo(tools, tmp_path, steps) == list(STEP_NAMES)


def test_a_virtual_environment_of_someone_else_is_not_touched(tools, tmp_path):
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    with pytest.raises(tools.running.SetupError, match="was not made by this set-up"):
        tools.ledger.Ledger(tmp_path)


@pytest.mark.parametrize(("distro", "version"), [("humble", "2"), ("noetic", "1")])
def test_a_ros_older_than_jazzy_is_refused_by_name(tools, distro, version):
    with pytest.raises(tools.running.SetupError, match=f"{distro} is sourced.* Jazzy or newer"):
        tools.ros_source.choose(None, {"ROS_DISTRO": distro, "ROS_VERSION": version})


def test_a_recorded_ros_is_kept_where_nothing_is_sourced_and_dropped_when_it_is_gone(tools, tmp_path, monkeypatch):
    source = tools.ros_source.RosSource("sourced", "kilted", sys.executable, "3.12.3", (str(tmp_path),))
    record = json.loads(json.dumps(source.as_dict()))
    assert tools.ros_source.choose(record, {}) == source
    # what our own hook has set is not "sourced"
    assert tools.ros_source.choose(record, {"ROS_DISTRO": "jazzy", tools.ros_source.MARK: "/somewhere"}) == source
    record["prefixes"] = [str(tmp_path / "gone")]
    monkeypatch.setattr(tools.ros_source, "WHEELS_PYTHON", sys.version_info[:2])
    assert tools.ros_source.choose(record, {}).kind == "wheels"


@pytest.mark.parametrize("name", ["vision_msgs", "tf2_msgs"])
def test_a_copy_of_a_package_is_built_only_where_none_is_found(tools, tmp_path, name):
    source = tools.ros_source.RosSource("sourced", "jazzy", sys.executable, "3.12.3", (str(tmp_path),))
    assert not source.provides(name)
    (tmp_path / "share" / name).mkdir(parents=True)
    (tmp_path / "share" / name / "package.xml").write_text("<package/>")
    assert source.provides(name)


def test_the_hook_puts_what_is_recorded_behind_what_is_sourced(tools):
    recorded = {"AMENT_PREFIX_PATH": ["/b", "/c"], "LD_LIBRARY_PATH": ["/b/lib"], "defaults": {"ROS_DISTRO": "jazzy"}}
    environ = {"AMENT_PREFIX_PATH": f"/a{os.pathsep}/c", "ROS_DISTRO": "jazzy"}
    changes = tools.activation.completed(environ, recorded)
    assert changes == {"AMENT_PREFIX_PATH": os.pathsep.join(["/a", "/c", "/b"]), "LD_LIBRARY_PATH": "/b/lib"}
    assert tools.activation.completed({**environ, **changes}, recorded) == {}


def test_the_hook_tells_another_ros_that_comes_first_from_its_own(tools, tmp_path):
    (tmp_path / "other" / "rclpy").mkdir(parents=True)
    (tmp_path / "own" / "rclpy").mkdir(parents=True)
    recorded = {"modules": [str(tmp_path / "own")]}
    assert tools.activation.foreign({"PYTHONPATH": f"{tmp_path}{os.pathsep}{tmp_path / 'own'}"}, recorded) is None
    assert tools.activation.foreign({"PYTHONPATH": str(tmp_path / "other")}, recorded) == str(tmp_path / "other")
    assert tools.activation.foreign({}, recorded) is None


def test_the_wheels_cmake_files_are_pointed_at_this_machine_and_keep_numpys_headers_to_the_build(tools, tmp_path):
    path = tmp_path / "share" / "x" / "cmake" / "xExport.cmake"
    path.parent.mkdir(parents=True)
    site = "/opt/python/cp311-cp311/lib/python3.11/site-packages"
    path.write_text(f'INCLUDES "/opt/python/cp311-cp311/include/python3.11;{site}/numpy/_core/include;/usr/include"\n')
    generator = path.with_name("rosidl_generator_py_generate_interfaces.cmake")
    line = "target_include_directories(${lib} PUBLIC ${Python3_INCLUDE_DIRS} ${Python3_NumPy_INCLUDE_DIRS})\n"
    generator.write_text(line)
    assert tools.wheel_paths.repair(tmp_path, "/py/include", "/np/include") == 2
    assert path.read_text() == 'INCLUDES "/py/include;/np/include;/usr/include"\n'
    kept = "target_include_directories(${lib} PUBLIC ${Python3_INCLUDE_DIRS} "
    assert generator.read_text() == kept + "$<BUILD_INTERFACE:${Python3_NumPy_INCLUDE_DIRS}>)\n"
    assert tools.wheel_paths.repair(tmp_path, "/py/include", "/np/include") == 0


def test_a_failing_command_is_reported_with_the_end_of_its_output(tools, tmp_path):
    with pytest.raises(tools.running.SetupError, match=r"exit code 3.*\n(.*\n)*no such wheel"):
        tools.running.run(["sh", "-c", "echo no such wheel; exit 3"], tmp_path / "x.log", str)


def test_a_second_set_up_of_one_checkout_waits_for_the_first(tools, tmp_path):
    program = f"import sys; sys.path.insert(0, {str(TOOLS)!r})\n"
    program += "from pathlib import Path; from running import exclusive\n"
    program += f"with exclusive(Path({str(tmp_path)!r})): print('in')"
    with tools.running.exclusive(tmp_path):
        second = subprocess.Popen([sys.executable, "-uc", program], stdout=subprocess.PIPE, text=True)
        assert "waiting" in second.stdout.readline()
        assert second.poll() is None
    assert second.communicate(timeout=30)[0] == "in\n"


def test_the_distribution_from_pypi_can_be_chosen_and_replaces_the_recorded_one(tools, monkeypatch):
    monkeypatch.setattr(tools.ros_source, "WHEELS_PYTHON", sys.version_info[:2])
    record = tools.ros_source.RosSource("wheels", "jazzy", sys.executable, "3.11.7").as_dict()
    assert tools.ros_source.choose(record, {}).distro == "jazzy"
    assert tools.ros_source.choose(record, {"N3D_ROS_WHEELS": "kilted"}).distro == "kilted"
    assert tools.ros_source.choose(None, {}).distro == "jazzy"
    with pytest.raises(tools.running.SetupError, match="N3D_ROS_WHEELS must be one of jazzy, kilted; got 'humble'"):
        tools.ros_source.choose(None, {"N3D_ROS_WHEELS": "humble"})


@pytest.mark.parametrize(
    ("kind", "distro", "version"),
    [
        ("wheels", "jazzy", "3.11.7"),
        ("wheels", "kilted", "3.11.7"),
        ("sourced", "jazzy", "3.12.3"),
        ("sourced", "lyrical", "3.14.0"),
    ],
)
def test_every_source_has_its_lock_files(tools, kind, distro, version):
    source = tools.ros_source.RosSource(kind, distro, sys.executable, version)
    locked = "\n".join((TOOLS.parents[1] / name).read_text() for name in source.locks)
    assert ("\nros-rclpy==" in locked) == (kind == "wheels")
    assert ("\nnumpy==" in locked) == (kind == "wheels")  # a distribution's cv_bridge is built on its own
    assert "\nsafetensors==" in locked
