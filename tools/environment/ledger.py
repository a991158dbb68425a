"""The record of finished set-up steps in a `.venv`: no step runs twice, and no half-done step counts as done."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running import SetupError

NAME = "n3d_setup.json"


@dataclass(frozen=True)
class Step:
    """One step: what is printed, the hash of its inputs, and the work."""

    name: str
    title: str
    key: str
    run: Callable[[], None]
    fragile: bool = False  # half done, it looks done: after an interruption the set-up starts from an empty .venv


class Ledger:
    """The record of the steps that are done, each with the key (a hash of its inputs) that it was done for."""

    def __init__(self, venv: Path) -> None:
        """Read the record of `venv`; an absent or unreadable one counts as nothing done.

        Raises SetupError for a folder made by another program, which must not be replaced.
        """
        self._path = venv / NAME
        self._state: dict[str, Any] = {}
        if venv.is_dir() and any(venv.iterdir()) and not self._path.exists():
            raise SetupError(f"{venv} was not made by this set-up; move it away, or remove it with `make clean`")
        with contextlib.suppress(OSError, ValueError):
            self._state = json.loads(self._path.read_text())

    @property
    def source(self) -> dict[str, Any] | None:
        """Where the ROS 2 of this `.venv` comes from, as recorded by the last step done."""
        return self._state.get("source")

    def unfinished(self, plan: Sequence[Step]) -> list[Step]:
        """The steps of `plan` to do: the first one whose key differs, and all after it.

        All of them, when the last set-up was interrupted in a step that leaves packages half installed: pip considers
        those installed.
        """
        interrupted = self._state.get("doing")
        if any(step.name == interrupted and step.fragile for step in plan):
            return list(plan)
        done = self._state.get("done", {})
        for index, step in enumerate(plan):
            if done.get(step.name) != step.key:
                return list(plan[index:])
        return []

    @contextlib.contextmanager
    def doing(self, step: Step, source: dict[str, Any]) -> Iterator[None]:
        """Record `step` as begun, and as done when the block ends without an error."""
        done = {name: key for name, key in self._state.get("done", {}).items() if name != step.name}
        self._write({"source": source, "done": done, "doing": step.name})
        yield
        self._write({"source": source, "done": {**done, step.name: step.key}, "doing": None})

    def _write(self, state: dict[str, Any]) -> None:
        self._state = state
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_suffix(".new")
        aside.write_text(json.dumps(state, indent=1))
        os.replace(aside, self._path)
