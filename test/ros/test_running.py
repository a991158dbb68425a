"""How the nodes of a process end: side by side, within the time of one."""

import threading
import time
from importlib import import_module
from types import SimpleNamespace

import pytest

from n3d_ros import __main__
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.node.parameters import ParameterSet
from n3d_ros.node.running import run_nodes, start_ros
from n3d_ros.queries import desk as query_desk
from n3d_ros.queries.desk import QueryDesk
from n3d_ros.queries.queue import Job

pytestmark = pytest.mark.ros


class Named:
    """Remembers what it is told."""

    def __init__(self, name, told):
        self.name, self.told = name, told

    def close(self):
        self.told.append(f"close {self.name}")

    def destroy_node(self):
        self.told.append(f"destroy {self.name}")


class Stopped(Named):
    """Has work to stop."""

    def stop(self):
        self.told.append(f"stop {self.name}")


def test_every_program_tells_what_it_does_and_where_its_parameters_are(capsys):
    assert __main__.main(["--help"]) == 0
    assert "|".join(__main__.NODES) in capsys.readouterr().out
    for module, _ in __main__.NODES.values():
        about = import_module(module).__doc__
        with pytest.raises(SystemExit) as left:
            start_ros("node", ["node", "--help"], about)
        assert left.value.code == 0
        told = capsys.readouterr().out
        assert " ".join(about.partition("\n\n")[0].split()) in " ".join(told.split())
        assert "docs/ros.md" in told


def test_all_nodes_are_stopped_before_the_first_is_closed_and_one_without_work_needs_no_stop():
    told = []

    def interrupted():
        raise KeyboardInterrupt

    made = [lambda: Stopped("front", told), lambda: Named("camera", told), lambda: Stopped("rear", told), interrupted]
    assert run_nodes(made) == 0
    names = ("front", "camera", "rear")
    assert told == [
        "stop front",
        "stop rear",
        *(f"close {name}" for name in names),
        *(f"destroy {name}" for name in names),
    ]


def test_desks_that_are_stopped_together_wait_for_their_queries_together(client, monkeypatch):
    monkeypatch.setattr(query_desk, "STOP_S", 1.0)
    settings = ParameterSet(client.node, GroundingParameters)
    desks = [QueryDesk(client.node, settings, SimpleNamespace(), SimpleNamespace()) for _ in range(4)]
    deaf, began = threading.Event(), [threading.Event() for _ in desks]

    def ignores(begun):
        return lambda _job: begun.set() or deaf.wait(30)

    for desk, begun in zip(desks, began, strict=True):
        desk.worker.submit(Job(ignores(begun), lambda *_: None))
        assert begun.wait(10)
    started = time.monotonic()
    for desk in desks:
        desk.stop()
    assert time.monotonic() - started < 0.5
    for desk in desks:
        desk.close()
    spent = time.monotonic() - started
    deaf.set()
    assert 0.9 < spent < 2.0  # one after another they take four seconds
