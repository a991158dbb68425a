"""The commands of README.md and docs/ros.md that need no robot do what they say, on the frames that the demo shows."""

import re
import shlex
from importlib import import_module

import pytest
import yaml
from lifecycle_msgs.srv import GetState
from n3d_ros.msg import Answer, Result, Value
from rcl_interfaces.srv import ListParameters, SetParameters
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from vision_msgs.msg import Detection3DArray

from n3d_ros.__main__ import NODES
from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.node.shipped import shipped

pytestmark = pytest.mark.ros

DOCUMENTS = ("README.md", "docs/ros.md")


def commands(*words):
    """(document, arguments) of each line in the documents' shell blocks that begins with these words."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```bash\n(.*?)```", shipped(document).read_text(), re.DOTALL):
            for line in block.splitlines():
                for part in line.split(" && "):
                    given = shlex.split(part, comments=True)
                    if tuple(given[: len(words)]) == words:
                        found.append(pytest.param(given[len(words) :], id=f"{document} {' '.join(given)}"))
    assert found, f"no document shows {' '.join(words)}"
    return found


def interface(name):
    """The class of a type such as `n3d_ros/srv/Ground`."""
    package, kind, name = name.split("/")
    return getattr(import_module(f"{package}.{kind}"), name)


def bare(name):
    """A name without the namespace of one of several cameras: here is one camera, in none."""
    return name.removeprefix("/front").removeprefix("/rear")


@pytest.fixture(scope="module")
def demo(model):
    """Camera and grounding node, as the demo runs them."""
    file = shipped("config/grounding.yaml")
    settings = {"model": model, "backend": "torch", "max_image_age": 30.0, "frame": 0}
    with NodeProcess("n3d_ros.playback.composed_node", settings, file) as process:
        yield process
        assert process.interrupt() == 0


@pytest.fixture
def robot(client, demo):
    """A client of the running demo."""

    def active():
        assert demo.exit_code is None, "the demo ended"
        return client.call(GetState, "/grounding/get_state", 120.0).current_state.label == "active"

    client.until(active, 180.0)
    return client


def fill(message, text):
    for name, value in yaml.safe_load(text).items():
        assert name in message.get_fields_and_field_types()
        setattr(message, name, value)
    return message


def judge(answer):
    """A reply that shows what the document promises: boxes, or an answer about what is in view."""
    result = answer.result if hasattr(answer, "result") else answer
    assert result.status == Result.OK, result.message
    assert result.detections.detections
    if getattr(answer, "question", ""):
        assert answer.answer
        assert answer.verdict in (Answer.VERIFIED, Answer.CONTRADICTED), answer.verdict_reason


@pytest.mark.parametrize("arguments", commands("ros2", "service", "call"))
def test_a_service_call_finds_what_it_asks_for(robot, arguments):
    name, kind, text = arguments
    service = interface(kind)
    given = fill(service.Request(), text)
    fields = {field: getattr(given, field) for field in given.get_fields_and_field_types()}
    response = robot.call(service, bare(name), **fields)
    judge(response.answer if hasattr(response, "answer") else response.result)


@pytest.mark.parametrize("arguments", commands("ros2", "action", "send_goal"))
def test_a_goal_gives_feedback_and_boxes(robot, arguments):
    name, kind, text = [word for word in arguments if not word.startswith("-")]
    action, heard = interface(kind), []
    actions = ActionClient(robot.node, action, bare(name))
    assert actions.wait_for_server(20)
    sent = actions.send_goal_async(fill(action.Goal(), text), feedback_callback=heard.append)
    robot.until(sent.done, 60)
    done = sent.result().get_result_async()
    robot.until(done.done, 120)
    judge(done.result().result.answer.result)
    assert heard
    actions.destroy()


@pytest.mark.parametrize("arguments", commands("ros2", "param", "set"))
def test_a_parameter_that_is_set_exists_and_takes_the_value(robot, arguments):
    node, name, value = arguments
    if "/path/to" in value:
        names = robot.call(ListParameters, f"{bare(node)}/list_parameters").result.names
        assert name in names
        return
    parameter = Parameter(name, value=yaml.safe_load(value)).to_parameter_msg()
    tracks = robot.listen(Detection3DArray, "/grounding/tracks")
    answer = robot.call(SetParameters, f"{bare(node)}/set_parameters", parameters=[parameter]).results[0]
    assert answer.successful, answer.reason
    if name == "continuous_query":
        robot.until(lambda: any(message.detections for message in tracks), 60)


@pytest.mark.parametrize("arguments", commands("ros2", "topic", "pub"))
def test_a_text_that_is_published_is_grounded_again_and_again(robot, arguments):
    name, kind, text = [word for word in arguments if not word.startswith("-")]
    tracks = robot.listen(Detection3DArray, "/grounding/tracks")
    publisher = robot.node.create_publisher(interface(kind), bare(name), QoSProfile(depth=1))
    robot.until(publisher.get_subscription_count)
    publisher.publish(fill(interface(kind)(), text))
    robot.until(lambda: any(message.detections for message in tracks), 60)


@pytest.mark.parametrize("arguments", commands("ros2", "launch", "n3d_ros"))
def test_a_launch_command_names_a_file_and_arguments_that_there_are(arguments):
    declared = r'DeclareLaunchArgument\(\s*"(\w+)"'
    names = set(re.findall(declared, shipped(f"launch/{arguments[0]}").read_text()))
    names |= set(re.findall(declared, shipped("launch/grounding.launch.py").read_text()))
    assert {word.partition(":=")[0] for word in arguments[1:] if ":=" in word} <= names


@pytest.mark.parametrize("arguments", commands("ros2", "run", "n3d_ros"))
def test_a_program_that_is_run_is_installed(arguments):
    assert arguments[0] in NODES


@pytest.mark.parametrize("arguments", commands("make"))
def test_a_target_of_make_exists(arguments):
    targets = re.findall(r"^(\w[\w-]*):", shipped("Makefile").read_text(), re.MULTILINE)
    wanted = [word for word in arguments if "=" not in word and not word.startswith(("-", "src/"))]
    assert set(wanted) <= set(targets)


def test_a_distance_comes_as_metres_to_act_on(robot):
    ask = interface("n3d_ros/srv/Ask")
    question = "How far is the red cone from the black lamp?"
    answer = robot.call(ask, "/grounding/ask", question=question).answer
    assert answer.value.kind == Value.LENGTH
    first, second = (answer.result.detections.detections[i].bbox.center.position for i in (0, 1))
    assert 0.0 < answer.value.number < 2.0
    assert first != second
