"""Starts the grounding node; with `demo:=true` a camera that plays the shipped frames, with `bag:=PATH` a bag, with
`rviz:=true` RViz, with `page:=true` a page in the browser.

ros2 launch n3d_ros grounding.launch.py --show-args
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = get_package_share_directory("n3d_ros")
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # up to Jazzy, and from Kilted on

ARGUMENTS = [
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="A shipped model's name, or a checkpoint folder; empty: as in params_file (n3d-tiny).",
    ),
    DeclareLaunchArgument(
        "backend",
        default_value="",
        description="What runs the network: auto, torch, onnx or tensorrt, also with a precision (tensorrt:int4); "
        "empty: as in params_file (auto).",
    ),
    DeclareLaunchArgument(
        "image_size",
        default_value="",
        description="Size of the camera's images, as 1280x720, to compile for at start; empty: as in params_file "
        "(640x480).",
    ),
    DeclareLaunchArgument("color", default_value="color/image_raw", description="Topic of the colour image."),
    DeclareLaunchArgument("color_info", default_value="color/camera_info", description="Topic of its camera info."),
    DeclareLaunchArgument("depth", default_value="depth/image_raw", description="Topic of the depth image."),
    DeclareLaunchArgument(
        "depth_info",
        default_value="depth/camera_info",
        description="Topic of depth's camera info; needed only for depth that is not registered to colour.",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the nodes; stands before those of several cameras."
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="Namespaces of several cameras, as front,rear: a grounding node in each, over one loaded model.",
    ),
    DeclareLaunchArgument(
        "target_frame",
        default_value="",
        description="Frame of the boxes, by TF at the image's stamp; empty: as in params_file (the image's own).",
    ),
    DeclareLaunchArgument(
        "monocular_depth",
        default_value="",
        description="Depth model of a camera without depth: indoor, outdoor, moge, or a folder; empty: as in "
        "params_file (measured depth).",
    ),
    DeclareLaunchArgument(
        "query",
        default_value="",
        description="Text that is grounded again and again, as 'mug; bottle'; empty: as in params_file (only on "
        "request).",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=os.path.join(SHARE, "config", "grounding.yaml"),
        description="Parameters of the nodes; the arguments here that are not empty go before it.",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="",
        description="Configure and activate at start; false leaves it to a lifecycle manager; empty: as in params_file "
        "(true).",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        description="Take the time from /clock (bags, simulators); empty: as in params_file (false).",
    ),
    DeclareLaunchArgument(
        "demo", default_value="false", description="Start a camera node that plays the shipped frames."
    ),
    DeclareLaunchArgument(
        "frames",
        default_value="",
        description="Frame folder for demo:=true; empty: as in params_file (the shipped frames).",
    ),
    DeclareLaunchArgument(
        "bag",
        default_value="",
        description="Bag to play in a loop in place of a camera, without rosbag2; stamped with now, or with "
        "use_sim_time:=true as it was recorded, with /clock.",
    ),
    DeclareLaunchArgument(
        "page",
        default_value="false",
        description="Serve image, 3D scene and an ask box on http://127.0.0.1:8190, for all cameras.",
    ),
    DeclareLaunchArgument("rviz", default_value="false", description="Start RViz with image, point cloud and boxes."),
    DeclareLaunchArgument(
        "python",
        default_value="",
        description="Interpreter of the nodes, the one that has torch; empty: the checkout's .venv, if any.",
    ),
    DeclareLaunchArgument(
        "dds_profile",
        default_value="shm",
        description="Fast DDS profile: shm (shared memory, without which images are lost; one that the environment "
        "names already stays), none, or a file; the camera driver needs the same one.",
    ),
]


def nodes(context: LaunchContext) -> list:
    """The actions that depend on the arguments' values."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def text(name: str) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=str)

    def switch(name: str) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=bool)

    texts = ["model", "backend", "image_size", "target_frame", "monocular_depth"]
    settings = {name: text(name) for name in texts if value(name)}
    settings |= {"continuous_query": text("query")} if value("query") else {}
    settings |= {"autostart": switch("autostart")} if value("autostart") else {}
    clock = {"use_sim_time": switch("use_sim_time")} if value("use_sim_time") else {}
    settings |= clock
    inputs = {
        "color/image_raw": value("color"),
        "color/camera_info": value("color_info"),
        "depth/image_raw": value("depth"),
        "depth/camera_info": value("depth_info"),
    }
    common = {
        "package": "n3d_ros",
        "executable": "grounding_node",
        "output": "screen",
        "parameters": [value("params_file"), settings],
        "remappings": list(inputs.items()),
    }
    outer = f"{value('namespace').rstrip('/')}/" if value("namespace") else ""
    names = [name.strip() for name in value("cameras").split(",") if name.strip()]
    cameras = [name if name.startswith("/") else outer + name for name in names]
    several = ["--cameras", ",".join(cameras)]
    if cameras:  # one process of several nodes: no name here, it would name them all
        grounding = Node(arguments=several, **common)
    else:
        grounding = LifecycleNode(name="grounding", namespace=value("namespace"), **common)
    namespaces = cameras or [value("namespace")]

    def beside(namespace: str | None, executable: str, name: str | None, settings: dict, **options: object) -> Node:
        """A node that goes with the grounding node of a namespace."""
        return Node(
            package="n3d_ros",
            executable=executable,
            name=name,
            namespace=namespace,
            output="screen",
            parameters=[value("params_file"), settings],
            **options,
        )

    def wanted(argument: str) -> IfCondition:
        return IfCondition(LaunchConfiguration(argument))

    frames = {"folder": text("frames")} if value("frames") else {}
    players = [beside(each, "camera_node", "n3d_camera", frames, condition=wanted("demo")) for each in namespaces]
    if value("bag"):
        recording = {"bag": text("bag")}
        first = recording | ({"clock": switch("use_sim_time")} if clock else {})
        others = recording | clock | {"clock": False}  # two clocks would jump to and fro: these stamp by the first's
        settings_of = [first, *[others] * (len(namespaces) - 1)]
        players += [
            beside(each, "bag_node", "n3d_bag", given) for each, given in zip(namespaces, settings_of, strict=True)
        ]
    shown = {"remappings": list(inputs.items()), "condition": wanted("page")}
    if cameras:
        page = beside(None, "page_node", None, clock, arguments=several, **shown)
    else:
        page = beside(value("namespace"), "page_node", "n3d_page", clock, **shown)
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespaces[0],
        arguments=["-d", os.path.join(SHARE, "rviz", "grounding.rviz")],
        parameters=[clock],
        remappings=list(inputs.items()),
        condition=wanted("rviz"),
    )
    return [*environment(value("python"), value("dds_profile")), grounding, *players, page, rviz]


def environment(python: str, profile: str) -> list:
    """Variables for the nodes' interpreter and for Fast DDS, which warns on Kilted of the name that it had on Jazzy.

    A profile that the robot has set already stays, unless another is named.
    """
    variables = {"N3D_PYTHON": python} if python else {}
    has_own = any(name in os.environ for name in PROFILES)
    if profile != "none" and not (profile == "shm" and has_own):
        path = os.path.join(SHARE, "config", "fastdds_shm.xml") if profile == "shm" else profile
        old, new = PROFILES
        variables[old if os.environ.get("ROS_DISTRO") == "jazzy" else new] = path
    return [SetEnvironmentVariable(name, content) for name, content in variables.items()]


def generate_launch_description() -> LaunchDescription:
    """See the arguments' descriptions."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])
