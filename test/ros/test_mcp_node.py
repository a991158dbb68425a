"""An agent's tools on a running node, asked by the official client."""

import asyncio
import base64
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("mcp", reason="mcp is not installed")

from mcp import Client as AgentClient
from mcp import StdioServerParameters

from n3d_core.geometry.boxes import Box3D
from n3d_core.mcp_server import make_server
from n3d_core.memory.objects import RememberedObject
from n3d_core.reasoning.question import Value
from n3d_core.results import Answer, Grounding, StageStarted
from n3d_ros.frames.transforms import Transforms
from n3d_ros.mcp_node import NodeScene
from test.ros.ready_node import Source, end, make_ready

pytestmark = pytest.mark.ros

MUG = Box3D("red mug", (0.0, 0.0, 1.54), (0.1, 0.1, 0.1), 0.9, (4e-4, 0, 0, 0, 9e-4, 0, 0, 0, 25e-4))
CAN = Box3D("blue can", (0.3, 0.0, 1.54), (0.1, 0.1, 0.1), 0.8)
LAMP = Box3D("lamp", (0.0, 0.0, -2.0), (0.2, 0.2, 0.4), 0.9)
SEEN_LAMP = RememberedObject({"lamp": 1.0}, np.zeros(3), np.eye(3), np.ones(3), 0.0, 2.0, 0.2, 0.5, 0.5, id=7)
LEVEL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


class View:
    """What the model says of the one image."""

    def __init__(self, frame):
        self.frame, self.times = frame, {}

    def ground(self, text, **_):
        return Grounding(text, [MUG, CAN] if text == "all objects" else [MUG] if "mug" in text else [], {}, 1.0)

    def ask(self, question, **_):
        if "lamp" in question:
            return Answer(
                question, "It was here.", "", "", "verified", "", boxes=[LAMP], remembered=[SEEN_LAMP], age=1.0
            )
        value = (
            Value("length", number=0.3) if question.startswith("How far") else Value("truth", truth="left" in question)
        )
        return Answer(question, "So it is.", "No.", "", "contradicted", "It is so.", value, [MUG, CAN])


@pytest.fixture
def scene(client, weightless, frame, tmp_path, monkeypatch):
    """A node with a memory, and the agent's view of it; the executor spins meanwhile."""
    monkeypatch.setattr(Transforms, "listen", lambda _self: None)
    monkeypatch.setattr(Transforms, "look_up", lambda *_: (LEVEL, np.array([0.0, 0.0, 1.0])))
    node = make_ready(client, weightless, Source(frame), memory=str(tmp_path / "map.db"))

    def look(seen, _limits, on_event):
        on_event(StageStarted("prepare"))
        return View(seen)

    weightless.model.look = look
    with client.spinning():
        asked = NodeScene(client.node, "/grounding", lambda: 60.0)
        while not (asked._query._client.server_is_ready() and asked._recall.service_is_ready()):
            time.sleep(0.05)
        yield SimpleNamespace(asked=asked, node=node)
    asked._query._client.destroy()
    end(node)


def talk(server, *calls):
    async def session():
        async with AgentClient(server) as agent:
            return [await agent.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(session())


def test_every_tool_speaks_to_the_node(scene):
    look, found, answer, relation = talk(
        make_server(scene.asked),
        ("look", {}),
        ("find", {"text": "red mug"}),
        ("ask", {"question": "How far is the mug from the can?"}),
        ("describe_relation", {"first": "red mug", "second": "blue can"}),
    )
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(look.content[0].data), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (48, 64, 3)
    seen = look.structured_content
    assert [one["label"] for one in seen["objects"]] == ["red mug", "blue can"]
    assert (seen["frame_id"], seen["stamp"], seen["source"]) == ("optical", 1.500000001, "/grounding")
    assert seen["age_s"] > 1e6  # the image is stamped in 1970

    (mug,) = found.structured_content["objects"]
    assert mug["center"] == [0.0, 0.0, 1.54]
    assert (mug["score"], mug["sigma_m"], mug["distance_m"]) == (0.9, 0.05, 1.54)

    told = answer.structured_content
    assert (told["answer"], told["said"], told["verdict"]) == ("So it is.", "No.", "contradicted")
    assert (told["value"]["kind"], told["value"]["number"], told["value"]["unit"]) == ("length", 0.3, "m")
    assert (told["remembered"], len(told["objects"])) == (False, 2)
    assert (relation.structured_content["distance_m"], relation.structured_content["sideways"]) == (0.3, "left")


def test_an_answer_from_memory_is_told_as_such_with_the_age_of_what_it_rests_on(scene):
    for question, last_seen, remembered in (("Where is the lamp?", 0.5, True), ("Is the mug left?", 1.5, False)):
        before = time.time()
        answer = scene.asked.ask(question)
        assert before - last_seen - 0.01 <= answer.age_s <= time.time() - last_seen + 0.01
        assert (answer.remembered, answer.frame_id, answer.stamp) == (remembered, "optical", 1.500000001)


def test_what_the_node_remembers_is_told_in_the_map(scene):
    (listed, where) = talk(make_server(scene.asked), ("list_objects", {}), ("where_is", {"text": "blue can"}))
    remembered = listed.structured_content["remembered"]
    assert remembered["frame_id"] == "map"
    (can,) = (one for one in remembered["objects"] if one["label"] == "blue can")
    assert can["center"] == pytest.approx([1.54, -0.3, 1.0], abs=0.01)
    assert (can["state"], can["distance_m"], can["observations"]) == ("present", None, 1)
    assert can["id"]
    told = where.structured_content
    assert told["in_view"]["objects"] == []
    assert told["found"]
    (can,) = told["remembered"]["objects"]
    assert can["state"] == "present"  # it was asked for and not found, but something still fills its place
    assert told["sentence"] == can["sentence"]
    assert "at (1.54, -0.30, 1.00) in map" in can["sentence"]


def test_the_node_draws_pictures_only_for_a_while_after_a_look(scene, monkeypatch):
    monkeypatch.setattr("n3d_ros.mcp_node.LINGER_S", 0.4)

    def watchers():
        return scene.node.count_subscribers("/grounding/annotated_image")

    assert watchers() == 0
    for _ in range(2):  # it subscribes again for a later look
        assert scene.asked.look("red mug", None).picture.shape == (48, 64, 3)
        assert watchers() == 1
        end = time.monotonic() + 10.0
        while watchers():
            assert time.monotonic() < end
            time.sleep(0.05)


def test_what_the_node_refuses_is_told_with_its_status(scene):
    (live,) = talk(make_server(scene.asked), ("look", {"frame": 3}))
    assert live.is_error
    assert "leave frame out" in live.content[0].text
    scene.node.trigger_deactivate()
    (refused,) = talk(make_server(scene.asked), ("find", {"text": "mug"}))
    assert refused.is_error
    assert "NOT_ACTIVE" in refused.content[0].text


def test_without_a_node_the_agent_is_told_so_over_stdio():
    arguments = ["-m", "n3d_ros", "mcp_node", "--ros-args", "-p", "grounding:=/nowhere"]
    server = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
    (refused,) = talk(server, ("find", {"text": "mug"}))
    assert refused.is_error
    assert "/nowhere/query not found" in refused.content[0].text


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("port:=99999", "Parameter port out of range"),
        ("port:=x", "'port' to 'x' of type 'STRING'"),
        ("grounding:=''", "grounding must be the name of the grounding node"),
        ("grounding:='a b'", "such as grounding or /front/grounding; got 'a b'"),
    ],
)
def test_a_parameter_that_cannot_be_is_told_in_one_sentence(parameter, words):
    command = [sys.executable, "-m", "n3d_ros", "mcp_node", "--ros-args", "-p", parameter]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("cannot start: ")
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
