"""Starts a node as a process and stops it as Ctrl-C does; for the demo, benchmarks and tests.

Users have `launch/grounding.launch.py` for this, where `launch` is installed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from n3d_ros.node.shipped import dds_profile

Value = str | bool | int | float


class NodeProcess:
    """`python -m MODULE` with ROS arguments, for the length of a `with` block.

    Args:
        module: as `n3d_ros.grounding_node`; nodes of this package are started by `python -m n3d_ros NODE`, which
            handles Ctrl-C even while they are still importing.
        parameters: name -> value.
        parameter_file: YAML read before them.
        remappings: from -> to, as `__ns` -> `/front`.
        arguments: of the program itself, before the ROS arguments.
        environment: variables added to this process's own.
        shared_memory: use the shipped DDS profile, without which most images get lost.
        log: where its output goes; None leaves it on this process's standard error.
    """

    def __init__(
        self,
        module: str,
        parameters: Mapping[str, Value] | None = None,
        parameter_file: Path | None = None,
        remappings: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        shared_memory: bool = True,
        log: IO[str] | None = None,
    ) -> None:
        package, _, name = module.rpartition(".")
        program = ["n3d_ros", name] if package.split(".")[0] == "n3d_ros" else [module]
        self.command = [sys.executable, "-m", *program, *arguments, "--ros-args"]
        if parameter_file is not None:
            self.command += ["--params-file", str(parameter_file)]
        for name, value in (parameters or {}).items():
            self.command += ["-p", f"{name}:={_yaml(value)}"]
        for source, target in (remappings or {}).items():
            self.command += ["-r", f"{source}:={target}"]
        self._environment = {**os.environ, **(dds_profile() if shared_memory else {}), **(environment or {})}
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    def __enter__(self) -> NodeProcess:
        output = self._log if self._log is not None else sys.stderr
        self._process = subprocess.Popen(self.command, env=self._environment, stdout=output, stderr=output, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.interrupt()

    def interrupt(self, timeout_s: float = 5.0) -> int:
        """Sends SIGINT and waits; returns the exit code. A process that does not end in time is killed (code -9)."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _yaml(value: Value) -> str:
    """A value as `-p name:=value` parses it; text is quoted, so that '1' and 'yes' stay text."""
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
