"""The examples that act: goals for Nav2 and boxes for MoveIt, from what a node remembers.

PyPI has neither nav2_msgs nor moveit_msgs. Where they are missing, classes with their fields stand in for them, and the
tests with the real types are skipped.
"""

import math
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Pose, TransformStamped
from n3d_ros.msg import RememberedObject, Result
from n3d_ros.srv import Recall
from nav_msgs.msg import OccupancyGrid
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import Header

from n3d_core.errors import N3DError
from n3d_core.geometry.boxes import OrientedBox
from n3d_ros.frames.images import stamp_of
from n3d_ros.frames.transforms import Transforms
from n3d_ros.node.shipped import shipped
from n3d_ros.outputs.messages import detection_box, detection_message

pytestmark = pytest.mark.ros

EXAMPLES = shipped("examples")
sys.path.insert(0, str(EXAMPLES))

moveit_scene, nav2_go_to, robot_client = map(import_module, ("moveit_scene", "nav2_go_to", "robot_client"))
RobotClient, RobotError = robot_client.RobotClient, robot_client.RobotError

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SPREAD = (0.01, 0.0, 0.0, 0.0, 0.0004, 0.0, 0.0, 0.0, 0.0001)


def remembered(label, center, state=RememberedObject.PRESENT, identity="1", seen_s=100.0):
    box = OrientedBox(label, center, (0.4, 0.2, 0.3), 0.9, SPREAD)
    detection = detection_message(box, Header(frame_id="map"), identity)
    return RememberedObject(detection=detection, state=state, existence=0.9, last_seen=stamp_of(round(seen_s * 1e9)))


class Robot:
    """What stands in for the robot: a grounding node's memory, its place, and a costmap on demand."""

    def __init__(self, client):
        self.node, self.objects, self.asked, self.works = client.node, [], [], True
        client.node.create_service(Recall, "/grounding/recall", self._on_recall)
        self._maps = client.node.create_publisher(OccupancyGrid, "/global_costmap/costmap", LATCHED)

    def _on_recall(self, request, response):
        self.asked.append((request.text, request.max_age.sec + request.max_age.nanosec / 1e9))
        response.result.status = Result.OK if self.works else Result.NOT_ACTIVE
        response.result.message = "" if self.works else "the node has no memory: set the parameter memory"
        response.objects = self.objects if self.works else []
        return response

    def publish_costmap(self, occupied, frame_id="map"):
        """Free ground of 8 x 8 m around the origin, but for what `occupied` says of x and y."""
        grid = OccupancyGrid(header=Header(frame_id=frame_id))
        grid.info.width = grid.info.height = 80
        grid.info.resolution = 0.1
        grid.info.origin.position.x = grid.info.origin.position.y = -4.0
        grid.info.origin.orientation.w = 1.0
        x = np.arange(80) * 0.1 - 3.95
        cells = np.where(occupied(*np.meshgrid(x, x)), 100, 0).astype(np.int8)
        grid.data.frombytes(cells.tobytes())
        self._maps.publish(grid)


@pytest.fixture
def robot(client, monkeypatch):
    """The stand-in, and the example's client; both spin in threads. The robot stands at the origin of the map."""
    monkeypatch.setattr(Transforms, "look_up", lambda *_: (np.eye(3), np.zeros(3)))
    robot = Robot(client)
    node = Node("example", context=client.node.context)
    with client.spinning(), RobotClient(node, 20.0) as example:
        robot.example = example
        yield robot
    node.destroy_node()


# ---------------------------------------------------------------- Nav2


class NavigateToPose:
    """Has the fields of nav2_msgs/action/NavigateToPose that are used."""

    class Goal(SimpleNamespace):
        pass


class Navigator:
    """Stands in for Nav2's action, where its types are missing."""

    goals, accepts, status, cancelled = [], True, GoalStatus.STATUS_SUCCEEDED, 0

    def __init__(self, node, kind, name):
        assert kind is NavigateToPose
        self.name = name

    def wait_for_server(self, _timeout_s):
        return self.name == "navigate_to_pose"

    def send_goal_async(self, goal):
        Navigator.goals.append(goal)
        outcome = SimpleNamespace(status=Navigator.status, result=SimpleNamespace(error_code=204))
        handle = SimpleNamespace(accepted=Navigator.accepts, get_result_async=lambda: _done(outcome))
        handle.cancel_goal_async = lambda: setattr(Navigator, "cancelled", Navigator.cancelled + 1)
        return _done(handle)

    def destroy(self):
        pass


def _done(result):
    future = Future()
    future.set_result(result)
    return future


@pytest.fixture
def nav2(monkeypatch):
    monkeypatch.setattr(nav2_go_to, "ActionClient", Navigator)
    Navigator.goals, Navigator.accepts, Navigator.status, Navigator.cancelled = [], True, 4, 0
    return Navigator


def drive(robot, *arguments):
    return nav2_go_to.drive(robot.example, NavigateToPose, nav2_go_to.parse(["red mug", *arguments]))


def test_the_place_of_the_robot_is_the_newest_that_is_known_whatever_time_a_simulation_has(robot, nav2, monkeypatch):
    asked = []
    monkeypatch.setattr(Transforms, "look_up", lambda *at: asked.append(at[1:4]) or (np.eye(3), np.zeros(3)))
    robot.objects = [remembered("red mug", (2.0, 0.0, 0.8))]
    drive(robot, "--robot-frame", "base_footprint", "--dry-run", "--ros-args", "-p", "use_sim_time:=true")
    assert asked == [("map", "base_footprint", 0)]


def test_without_a_costmap_the_robot_stops_in_front_of_the_object_on_its_own_side(robot, nav2, capsys):
    robot.objects = [
        remembered("red mug", (1.0, 1.0, 0.8), RememberedObject.GONE, "7"),
        remembered("red mug", (2.0, 0.0, 0.8)),
    ]
    drive(robot, "--distance", "0.5")
    (goal,) = nav2.goals
    place, turn = goal.pose.pose.position, goal.pose.pose.orientation
    assert goal.pose.header.frame_id == "map"
    assert (place.x, place.y, place.z) == pytest.approx((2.0 - 0.2 - 0.5, 0.0, 0.0), abs=0.01)
    assert (turn.z, turn.w) == pytest.approx((0.0, 1.0), abs=0.01)  # faces along x
    assert robot.asked == [("red mug", 0.0)]
    shown = capsys.readouterr().out
    assert "is silent" in shown
    assert "red mug: arrived" in shown


def test_the_costmap_chooses_a_side_that_is_free(robot, nav2):
    robot.objects = [remembered("red mug", (2.0, 0.0, 0.8))]
    robot.publish_costmap(lambda x, y: (abs(x - 1.5) < 0.4) & (abs(y) < 0.8))  # something stands in front of it
    pose = drive(robot, "--distance", "0.5")
    assert nav2.goals
    assert abs(pose.y) > 0.4 or pose.x > 2.0
    assert pose.yaw == pytest.approx(math.atan2(0.0 - pose.y, 2.0 - pose.x))
    robot.publish_costmap(lambda x, _: x > 0.5)
    with pytest.raises(N3DError, match="no free ground"):
        drive(robot)
    robot.publish_costmap(lambda x, _: x > 9, frame_id="odom")
    with pytest.raises(RobotError, match=r"is in 'odom', and objects are remembered in 'map'"):
        drive(robot)


def test_a_dry_run_does_not_move_the_robot(robot, nav2):
    robot.objects = [remembered("red mug", (2.0, 0.0, 0.8))]
    drive(robot, "--dry-run")
    assert nav2.goals == []


def test_what_keeps_the_robot_from_driving_is_told(robot, nav2):
    with pytest.raises(RobotError, match="it was not seen yet"):
        drive(robot)
    robot.objects = [remembered("red mug", (2.0, 0.0, 0.8), RememberedObject.GONE)]
    with pytest.raises(RobotError, match="it was seen to be gone"):
        drive(robot)
    robot.works = False
    with pytest.raises(RobotError, match="set the parameter memory"):
        drive(robot)
    robot.works, robot.objects = True, [remembered("red mug", (2.0, 0.0, 0.8))]
    with pytest.raises(RobotError, match="is Nav2 running"):
        drive(robot, "--action", "elsewhere")
    nav2.accepts = False
    with pytest.raises(RobotError, match="refused the goal"):
        drive(robot)
    nav2.accepts, nav2.status = True, GoalStatus.STATUS_ABORTED
    with pytest.raises(RobotError, match=r"did not arrive \(status 6\): error code 204"):
        drive(robot)


def test_a_drive_that_takes_too_long_is_cancelled(robot, nav2, monkeypatch):
    robot.objects = [remembered("red mug", (2.0, 0.0, 0.8))]
    monkeypatch.setattr(nav2_go_to, "_DRIVE_S", 0.1)
    send = nav2.send_goal_async

    def never(self, goal):
        handle = send(self, goal).result()
        handle.get_result_async = Future
        return _done(handle)

    monkeypatch.setattr(nav2, "send_goal_async", never)
    with pytest.raises(RobotError, match="did not answer"):
        drive(robot)
    assert nav2.cancelled == 1


def test_the_goal_reaches_a_server_of_the_real_type(robot):
    actions = pytest.importorskip("nav2_msgs.action", reason="nav2_msgs is not installed")
    goals = []

    def arrive(handle):
        goals.append(handle.request.pose)
        handle.succeed()
        return actions.NavigateToPose.Result()

    server = ActionServer(
        robot.node,
        actions.NavigateToPose,
        "navigate_to_pose",
        arrive,
        cancel_callback=lambda _: CancelResponse.ACCEPT,
        callback_group=ReentrantCallbackGroup(),
    )
    robot.objects = [remembered("red mug", (2.0, 0.0, 0.8))]
    nav2_go_to.drive(robot.example, actions.NavigateToPose, nav2_go_to.parse(["red mug", "--distance", "0.5"]))
    assert goals[0].pose.position.x == pytest.approx(1.3, abs=0.01)
    server.destroy()


# ---------------------------------------------------------------- MoveIt


class SolidPrimitive(SimpleNamespace):
    """Has the fields of shape_msgs/msg/SolidPrimitive."""

    BOX = 1

    def __init__(self):
        super().__init__(type=0, dimensions=[])


class CollisionObject(SimpleNamespace):
    """Has the fields of moveit_msgs/msg/CollisionObject that are used."""

    ADD, REMOVE = b"\x00", b"\x01"

    def __init__(self):
        super().__init__(header=Header(), pose=Pose(), id="", primitives=[], primitive_poses=[], operation=b"\x00")


@pytest.fixture
def scene():
    sent = []
    scene = moveit_scene.PlanningScene(CollisionObject, SolidPrimitive, sent.append, 0.95)
    return SimpleNamespace(sent=sent, scene=scene)


def test_a_remembered_object_is_a_box_padded_by_its_covariance(scene):
    scene.scene.update([remembered("red mug", (1.0, 2.0, 0.8), identity="4")])
    (box,) = scene.sent
    assert (box.id, box.operation, box.header.frame_id) == ("n3d_4", CollisionObject.ADD, "map")
    assert (box.pose.position.x, box.pose.position.y, box.pose.position.z) == (1.0, 2.0, 0.8)
    assert box.pose.orientation.w == 1.0
    (shape,) = box.primitives
    reach = math.sqrt(7.815)  # chi-square of three degrees of freedom at 0.95
    sides = [0.4 + 2 * reach * 0.1, 0.2 + 2 * reach * 0.02, 0.3 + 2 * reach * 0.01]
    assert shape.type == SolidPrimitive.BOX
    assert shape.dimensions == pytest.approx(sides, abs=1e-3)
    (place,) = box.primitive_poses
    assert (place.position.x, place.orientation.w) == (0.0, 1.0)


def test_boxes_are_sent_when_they_change_and_removed_when_they_are_gone(scene):
    mug, can = remembered("red mug", (1.0, 2.0, 0.8)), remembered("can", (0.0, 1.0, 0.8), identity="2")

    def operations():
        out = [(one.id, one.operation) for one in scene.sent]
        scene.sent.clear()
        return out

    add, remove = CollisionObject.ADD, CollisionObject.REMOVE
    scene.scene.update([mug, can])
    assert operations() == [("n3d_1", add), ("n3d_2", add)]
    scene.scene.update([mug, can])
    assert operations() == []
    scene.scene.update([remembered("red mug", (1.1, 2.0, 0.8)), can])
    assert operations() == [("n3d_1", add)]
    scene.scene.update([mug, remembered("can", (0.0, 1.0, 0.8), RememberedObject.GONE, "2")])
    assert operations() == [("n3d_2", remove), ("n3d_1", add)]
    scene.scene.repeat()
    assert operations() == [("n3d_1", add)]
    scene.scene.update([])  # not recalled within its life time
    assert operations() == [("n3d_1", remove)]
    scene.scene.update([mug])
    scene.sent.clear()
    scene.scene.clear()
    assert operations() == [("n3d_1", remove)]


def test_the_scene_follows_the_memory_and_outlives_it_for_the_life_time_only(robot, scene, monkeypatch):
    now_s = robot.node.get_clock().now().nanoseconds / 1e9
    robot.objects = [remembered("mug", (1.0, 2.0, 0.8)), remembered("can", (0, 1, 0.8), identity="2", seen_s=now_s)]
    rounds = []

    def pause(_seconds):
        rounds.append([(one.id, one.operation) for one in scene.sent])
        scene.sent.clear()
        robot.works = False
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(moveit_scene.time, "sleep", pause)
    listeners = iter([0, 0, 1])
    args = moveit_scene.parse(["mug; can", "--lifetime", "300.5"])
    with pytest.raises(KeyboardInterrupt):
        moveit_scene.keep(robot.example, scene.scene, lambda: next(listeners), args)
    assert robot.asked[0] == ("mug; can", 300.5)
    add, remove = CollisionObject.ADD, CollisionObject.REMOVE
    assert rounds[0] == [("n3d_1", add), ("n3d_2", add)]
    assert rounds[1] == [("n3d_1", remove)]  # the node is away, and this one was last seen in 1970
    assert rounds[2] == [("n3d_2", add)]  # for a MoveIt that has just started


def test_the_box_fits_the_real_types():
    moveit = pytest.importorskip("moveit_msgs.msg", reason="moveit_msgs is not installed")
    shapes = pytest.importorskip("shape_msgs.msg", reason="shape_msgs is not installed")
    sent = []
    real = moveit_scene.PlanningScene(moveit.CollisionObject, shapes.SolidPrimitive, sent.append, 0.95)
    real.update([remembered("red mug", (1.0, 2.0, 0.8))])
    real.clear()
    assert [one.operation for one in sent] == [moveit.CollisionObject.ADD, moveit.CollisionObject.REMOVE]


# ---------------------------------------------------------------- both


@pytest.mark.parametrize(
    ("example", "package", "words"),
    [
        (["nav2_go_to.py", "red mug"], "nav2_msgs", "nav2_msgs is not installed: apt install"),
        (["moveit_scene.py"], "moveit_msgs", "moveit_msgs is not installed: apt install"),
        (["nav2_go_to.py", " ", "--dry-run"], "nav2_msgs", "say which object to drive to"),
        (["nav2_go_to.py", "mug", "--dry-run", "--grounding", "bad name"], "nav2_msgs", "must not contain characters"),
    ],
)
def test_without_the_other_stack_or_with_bad_arguments_an_example_says_what_to_do(example, package, words):
    program = f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv = {example!r}; "
    program += f"runpy.run_path({example[0]!r}, run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", program], cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_detection_and_its_box_are_each_others_inverse():
    box = OrientedBox("mug", (1.0, 2.0, 3.0), (0.1, 0.2, 0.3), 0.5, SPREAD, (0.0, 0.0, 0.6, 0.8))
    assert detection_box(detection_message(box, Header(frame_id="map"))) == box


def test_the_robot_is_where_tf_says(client):
    """Without the stand-in of the other tests: `Transforms` reads a transform that a robot publishes."""
    messages = pytest.importorskip("tf2_msgs.msg", reason="the interfaces are not built (make test builds them)")
    publisher = client.node.create_publisher(
        messages.TFMessage, "/tf_static", QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    transform = TransformStamped(child_frame_id="base_link", header=Header(frame_id="map"))
    transform.transform.translation.x, transform.transform.rotation.w = 1.5, 1.0
    publisher.publish(messages.TFMessage(transforms=[transform]))
    now_ns = client.node.get_clock().now().nanoseconds
    _, place = Transforms(client.node).look_up("map", "base_link", now_ns, 10.0)
    assert place.tolist() == [1.5, 0.0, 0.0]
