"""The work behind each step: the virtual environment, its packages, the built interfaces, the checkout itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ledger import NAME as LEDGER
from ros_source import MARK, RosSource
from running import SetupError, run
from wheel_paths import repair

HOOK = Path(__file__).with_name("activation.py")
# Where a distribution lacks its own; the first is the last release that runs on NumPy 1.
OPENCV_FOR_NUMPY_1 = "opencv-python-headless==4.11.0.86"
OPENCV = "opencv-python-headless>=4.11,<5"
OWN_COPIES = ("vision_msgs", "tf2_msgs")  # interface packages in tools/, for a ROS 2 without them (PyPI)
# Variables of the caller's environment that would leak into the builds.
DROPPED = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", MARK)


class VenvWork:
    """Makes `root`/.venv for one ROS 2. Each method is one step and may run again."""

    def __init__(self, root: Path, source: RosSource) -> None:
        """Only records paths; does nothing yet."""
        self.root = root
        self.source = source
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.overlay = self.venv / "ros"  # the prefix that the interfaces are installed to
        self.locks = [root / name for name in source.locks]
        self.torch = (root / "tools" / "torch.in").read_text().strip()

    def locked_packages(self) -> int:
        """How many packages the lock files name."""
        return len(set(re.findall(r"^[\w.-]+==", self.locked(), re.MULTILINE)))

    def locked(self) -> str:
        """The text of the lock files."""
        return "\n".join(lock.read_text() for lock in self.locks)

    def make(self) -> None:
        """Replace the virtual environment with an empty one; the ledger stays."""
        _check_build_tools()
        self.venv.mkdir(exist_ok=True)
        for path in self.venv.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LEDGER:
                path.unlink()
        options = ["--system-site-packages"] if self.source.kind == "sourced" else []
        command = [self.source.python, "-m", "venv", *options, str(self.venv)]
        result = subprocess.run(command, capture_output=True, text=True, env=self._base_environment())
        if result.returncode != 0:
            version = ".".join(self.source.version.split(".")[:2])
            raise SetupError(
                f"{self.source.python} cannot make a virtual environment; on Debian and Ubuntu the package "
                f"python{version}-venv brings what is missing.\n{(result.stdout + result.stderr).strip()}"
            )

    def install_packages(self) -> None:
        """Install all packages of the lock files, checked by their hashes."""
        count = self.locked_packages()

        def progress(output: str) -> str:
            if "Installing collected packages" in output:
                return f"unpacking {count} packages"
            return f"{len(re.findall('^Collecting ', output, re.MULTILINE))} of {count} packages"

        files = [argument for lock in self.locks for argument in ("-r", str(lock))]
        self._pip("packages", progress, "--require-hashes", "--no-deps", *files)
        if self.source.kind == "sourced" and not self._runs("import cv2"):
            opencv = OPENCV_FOR_NUMPY_1 if self._runs("import numpy; assert numpy.__version__ < '2'") else OPENCV
            self._pip("opencv", lambda _: opencv, "--no-deps", opencv)

    def install_torch(self) -> None:
        """Install the build of torch that the package index offers: for CPU, or for CUDA with the packages it names."""

        def progress(output: str) -> str:
            if "Installing collected packages" in output:
                return "unpacking"
            files = re.findall(r"^\s*(?:Downloading|Processing) (\S+)(.*)$", output, re.MULTILINE)
            return f"{Path(files[-1][0]).name}{files[-1][1]}" if files else "looking it up"

        self._pip("torch", progress, self.torch)

    def build_interfaces(self) -> None:
        """Build n3d_ros, and those of `OWN_COPIES` that this ROS 2 has not, into `.venv/ros`."""
        shutil.rmtree(self.overlay, ignore_errors=True)
        if self.source.kind == "wheels":
            headers = (
                "import json, numpy, sysconfig\nprint(json.dumps([sysconfig.get_path('include'), numpy.get_include()]))"
            )
            repair(self.venv / "share", *json.loads(self._evaluate(headers)))
        missing = [name for name in OWN_COPIES if not self.source.provides(name)]
        folders = [str(self.root), *(str(self.root / "tools" / name) for name in missing)]
        command = [str(self.venv / "bin" / "colcon"), "--log-base", str(self.venv / "log" / "colcon"), "build"]
        command += ["--paths", *folders, "--symlink-install", "--merge-install"]
        command += ["--build-base", str(self.venv / "build"), "--install-base", str(self.overlay)]
        command += ["--cmake-force-configure", "--cmake-args", "-DBUILD_TESTING=OFF"]
        command += [f"-DPython3_EXECUTABLE={self.python}"]

        def progress(output: str) -> str:
            events = re.findall(r"^(?:Starting >>>|Finished <<<) .*$", output, re.MULTILINE)
            return events[-1] if events else "configuring"

        run(command, self.venv / "log" / "interfaces.log", progress, self._environment())

    def install_checkout(self) -> None:
        """Install the checkout in place, and the hook by which its interpreter finds ROS 2 and the interfaces."""
        self._pip("n3d", lambda _: "linking", "--no-deps", "--no-build-isolation", "--editable", str(self.root))
        messages = next(self.overlay.glob("**/n3d_ros/msg/__init__.py"))
        site = next(self.venv.glob("lib/python*/site-packages"))
        prefixes = [str(self.overlay), *self._prefixes()]
        libraries = [str(self.overlay / "lib"), *self._libraries()]
        record = {
            "AMENT_PREFIX_PATH": prefixes,
            "LD_LIBRARY_PATH": libraries,
            "modules": self.source.modules,
            "defaults": self._defaults(),
        }
        shutil.copyfile(HOOK, site / "n3d_ros_environment.py")
        (site / "n3d_ros_environment.json").write_text(json.dumps(record, indent=1))
        # Its name sorts before those of the ROS wheels, whose own hook then finds its work done.
        lines = ["import n3d_ros_environment; n3d_ros_environment.activate()"]
        lines += [str(self.root), str(messages.parents[2]), *self.source.modules]
        (site / "_n3d_ros.pth").write_text("\n".join(lines) + "\n")

    def _prefixes(self) -> list[str]:
        return [str(self.venv)] if self.source.kind == "wheels" else list(self.source.prefixes)

    def _libraries(self) -> list[str]:
        if self.source.kind == "sourced":
            return list(self.source.libraries)
        return [str(self.venv / "lib"), *map(str, sorted(self.venv.glob("lib/python*/site-packages/ros_*.libs")))]

    def _defaults(self) -> dict[str, str]:
        """Variables that the hook sets where they are not set."""
        defaults = {"ROS_DISTRO": self.source.distro, "ROS_VERSION": "2", "ROS_PYTHON_VERSION": "3"}
        defaults[MARK] = str(self.venv)
        if self.source.kind == "wheels":
            # A robot's distribution decides for itself who may discover its nodes; here only this machine does.
            defaults["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
            defaults["_ROS_WHEELS_BOOTSTRAP_COMPLETE"] = "1"
        return defaults

    def _base_environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in DROPPED}

    def _environment(self) -> dict[str, str]:
        """The environment of programs that run in the virtual environment and need ROS 2."""
        paths = {
            "AMENT_PREFIX_PATH": self._prefixes(),
            "CMAKE_PREFIX_PATH": self._prefixes(),
            "LD_LIBRARY_PATH": self._libraries(),
            "PYTHONPATH": list(self.source.modules),
            "PATH": [str(self.venv / "bin"), os.environ.get("PATH", os.defpath)],
        }
        joined = {name: os.pathsep.join(entries) for name, entries in paths.items() if entries}
        home = {"COLCON_HOME": str(self.venv / "log")}  # not the user's, whose defaults may lay things out otherwise
        return {**self._base_environment(), **self._defaults(), **joined, **home}

    def _pip(self, log: str, progress: Callable[[str], str], *arguments: str) -> None:
        # --no-compile: Python compiles on import, and most of what is installed is never imported
        options = ["--no-input", "--disable-pip-version-check", "--no-compile"]
        command = [str(self.python), "-m", "pip", "install", *options, *arguments]
        # without the distribution's modules, which pip would mistake for packages of this virtual environment
        environment = {**self._environment(), "PYTHONPATH": ""}
        run(command, self.venv / "log" / f"{log}.log", progress, environment)

    def _evaluate(self, program: str) -> str:
        command = [str(self.python), "-c", program]
        return subprocess.run(command, env=self._environment(), check=True, capture_output=True, text=True).stdout

    def _runs(self, program: str) -> bool:
        command = [str(self.python), "-c", program]
        return subprocess.run(command, env=self._environment(), capture_output=True).returncode == 0


def _check_build_tools() -> None:
    """Raise SetupError, naming them, if programs needed to build the interfaces are missing."""
    missing = [
        names[0] for names in (("cmake",), ("make",), ("g++", "c++", "clang++")) if not any(map(shutil.which, names))
    ]
    if missing:
        raise SetupError(
            f"building the ROS interfaces needs {', '.join(missing)}, not found on the PATH. "
            f"On Debian and Ubuntu: apt-get install {' '.join(missing)}"
        )
