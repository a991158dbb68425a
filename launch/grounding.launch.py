"""Starts the grounding node; with `demo:=true` also a camera that plays the shipped frames, with `bag:=PATH` a bag,
with `rviz:=true` RViz, and with `page:=true` a page in the browser.

ros2 launch n3d_ros grounding.launch.py --show-args

Launch ends with the grounding node, and fails if that failed. Arguments are checked before the first process starts,
since launch would leave it running.
"""

import os
import shutil
import tempfile

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, SetEnvironmentVariable
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = get_package_share_directory("n3d_ros")
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # for Jazzy, and for Kilted and later
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
DEFAULT_PARAMETERS = os.path.join(SHARE, "config", "grounding.yaml")
DEMO_QUERY = "all objects"

ARGUMENTS = [
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="Name of a shipped model, or a checkpoint folder; empty: as in params_file (n3d-tiny).",
    ),
    DeclareLaunchArgument(
        "backend",
        default_value="",
        description="Runtime of the network: auto, torch, onnx or tensorrt, optionally with a precision "
        "(tensorrt:int4); empty: as in params_file (auto).",
    ),
    DeclareLaunchArgument(
        "image_size",
        default_value="",
        description="Size of the camera's images, such as 1280x720, to compile for at start; empty: as in params_file "
        "(640x480).",
    ),
    DeclareLaunchArgument("color", default_value="color/image_raw", description="Topic of the colour image."),
    DeclareLaunchArgument("color_info", default_value="color/camera_info", description="Topic of its camera info."),
    DeclareLaunchArgument("depth", default_value="depth/image_raw", description="Topic of the depth image."),
    DeclareLaunchArgument(
        "depth_info",
        default_value="depth/camera_info",
        description="Topic of the depth camera's info; only needed for depth that is not registered to colour.",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the nodes; with cameras, prefix of their namespaces."
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="Namespaces of several cameras, such as front,rear: one grounding node in each, sharing one model.",
    ),
    DeclareLaunchArgument(
        "target_frame",
        default_value="",
        description="Frame of the boxes, from TF at the image's stamp; empty: as in params_file (the image's frame).",
    ),
    DeclareLaunchArgument(
        "refine",
        default_value="",
        description="depth: fit upright boxes to the measured points; none: keep the model's boxes; empty: as in "
        "params_file (none).",
    ),
    DeclareLaunchArgument(
        "gravity_frame",
        default_value="",
        description="Frame whose z axis points up, for refine:=depth; empty: as in params_file.",
    ),
    DeclareLaunchArgument(
        "monocular_depth",
        default_value="",
        description="Depth model for a camera without depth: indoor, outdoor, moge, or a folder; empty: as in "
        "params_file (measured depth).",
    ),
    DeclareLaunchArgument(
        "query",
        default_value="",
        description="Text to ground continuously, such as 'mug; bottle'; empty: as in params_file (none), but "
        f"'{DEMO_QUERY}' for demo:=true.",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=DEFAULT_PARAMETERS,
        description="Parameter file of the nodes; launch arguments override it unless empty.",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="",
        description="Configure and activate at start; false leaves that to a lifecycle manager; empty: as in "
        "params_file (true).",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        description="Use the time of /clock (bags, simulators); empty: as in params_file (false).",
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
        "tour",
        default_value="false",
        description="For demo:=true: play the shipped tour of a room, and remember its objects (in a new file in /tmp "
        "unless memory names one).",
    ),
    DeclareLaunchArgument(
        "memory",
        default_value="",
        description="File in which objects are remembered; empty: as in params_file (none).",
    ),
    DeclareLaunchArgument(
        "bag",
        default_value="",
        description="Bag to play in a loop instead of a camera, without rosbag2; stamped with the present time, "
        "or with use_sim_time:=true as recorded, with /clock.",
    ),
    DeclareLaunchArgument(
        "page",
        default_value="false",
        description="Serve a page with image, 3D scene and an ask box on http://127.0.0.1:8190, for all cameras.",
    ),
    DeclareLaunchArgument(
        "rviz", default_value="false", description="Start RViz with image, point cloud and boxes, once per camera."
    ),
    DeclareLaunchArgument(
        "rviz_config", default_value="", description="RViz configuration; empty: the one shipped with the package."
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="",
        description="Log level of the grounding node: debug, info, warn, error or fatal; empty: info.",
    ),
    DeclareLaunchArgument(
        "python",
        default_value="",
        description="Python interpreter with torch, for the nodes; empty: N3D_PYTHON, else the package's .venv, else "
        "python3.",
    ),
    DeclareLaunchArgument(
        "dds_profile",
        default_value="shm",
        description="Fast DDS profile: shm (shared memory, without which images get lost; a profile that the "
        "environment names is kept), none, or a file; the camera driver needs the same one.",
    ),
]


def checked(context: LaunchContext) -> dict:
    """The argument values; switches become bool.

    Raises:
        ValueError: naming an argument, its value and what is allowed.
        PackageNotFoundError: if RViz is requested but not installed.
    """
    values = {each.name: LaunchConfiguration(each.name).perform(context).strip() for each in ARGUMENTS}
    for name in ("params_file", "rviz_config", "dds_profile", "python", "frames", "bag"):
        values[name] = os.path.expanduser(values[name])  # a shell leaves the ~ of bag:=~/my.mcap alone
    for name in ("demo", "tour", "page", "rviz", "autostart", "use_sim_time"):
        values[name] = switch(name, values[name])
    values["cameras"] = [name.strip() for name in values["cameras"].split(",") if name.strip()]
    if len(set(values["cameras"])) < len(values["cameras"]):
        raise ValueError(f"cameras must be different namespaces; got {', '.join(values['cameras'])}")
    if values["tour"] and not values["demo"]:
        raise ValueError("tour:=true plays the demo's tour: it needs demo:=true")
    for name in ("params_file", "rviz_config"):
        if values[name] and not os.path.isfile(values[name]):
            raise ValueError(f"{name} must be an existing file; got {values[name]}")
    profile = values["dds_profile"]
    if profile not in ("shm", "none") and not os.path.isfile(profile):
        raise ValueError(f"dds_profile must be shm, none or a file; got {profile!r}")
    if values["log_level"] and values["log_level"].lower() not in LOG_LEVELS:
        raise ValueError(f"log_level must be one of {', '.join(LOG_LEVELS)}; got {values['log_level']!r}")
    if values["python"] and not shutil.which(values["python"]):
        raise ValueError(f"python must be an executable interpreter; got {values['python']!r}")
    if values["rviz"]:
        try:
            get_package_prefix("rviz2")
        except PackageNotFoundError as missing:
            raise ValueError("rviz:=true needs RViz: apt install ros-$ROS_DISTRO-rviz2") from missing
    return values


def switch(name: str, value: str) -> bool | None:
    """True or False; None for an empty value.

    Raises:
        ValueError: if it is neither.
    """
    allowed = {"true": True, "1": True, "false": False, "0": False, "": None}
    if value.lower() not in allowed:
        raise ValueError(f"{name} must be true or false; got {value!r}")
    return allowed[value.lower()]


def nodes(context: LaunchContext) -> list:
    """The actions that depend on the argument values."""
    values = checked(context)
    inputs = {
        "color/image_raw": values["color"],
        "color/camera_info": values["color_info"],
        "depth/image_raw": values["depth"],
        "depth/camera_info": values["depth_info"],
    }
    outer = f"{values['namespace'].rstrip('/')}/" if values["namespace"] else ""
    cameras = [name if name.startswith("/") else outer + name for name in values["cameras"]]
    namespaces = cameras or [values["namespace"]]
    clock = {} if values["use_sim_time"] is None else {"use_sim_time": values["use_sim_time"]}

    def node(kind: type, executable: str, name: str, namespace: str, settings: dict, **options: object) -> Node:
        """One process. With several cameras it gets no name or namespace here: they would apply to all its nodes."""
        several = bool(cameras) and namespace == ""
        return (Node if several else kind)(
            package="n3d_ros",
            executable=executable,
            name=None if several else name,
            namespace=None if several else namespace,
            arguments=["--cameras", ",".join(cameras)] if several else [],
            output="screen",
            parameters=[values["params_file"], settings],
            **options,
        )

    own = "" if cameras else values["namespace"]
    grounding = node(
        LifecycleNode,
        "grounding_node",
        "grounding",
        own,
        grounding_settings(values) | clock,
        remappings=list(inputs.items()),
        ros_arguments=["--log-level", values["log_level"]] if values["log_level"] else [],
        on_exit=end_with,
    )
    actions = [*environment(values["python"], values["dds_profile"]), grounding]
    if values["demo"]:
        frames = {"folder": text(values["frames"])} if values["frames"] else {}
        if values["tour"]:
            frames = {"folder": text(os.path.join(SHARE, "demo", "tour")), "hold": 1.0} | frames
        actions += [node(Node, "camera_node", "n3d_camera", each, frames) for each in namespaces]
    if values["bag"]:
        recording = {"bag": text(values["bag"])}
        first = recording | ({"clock": values["use_sim_time"]} if clock else {})
        others = recording | clock | {"clock": False}  # two clocks would disagree: these follow the first
        settings_of = [first, *[others] * (len(namespaces) - 1)]
        actions += [
            node(Node, "bag_node", "n3d_bag", each, given) for each, given in zip(namespaces, settings_of, strict=True)
        ]
    if values["page"]:
        actions.append(node(Node, "page_node", "n3d_page", own, clock, remappings=list(inputs.items())))
    if values["rviz"]:
        fixed = ["--fixed-frame", "map"] if values["tour"] else []
        actions += [rviz(each, values["rviz_config"], clock, inputs, fixed) for each in namespaces]
    return actions


def grounding_settings(values: dict) -> dict:
    """Parameters of the grounding node from the nonempty arguments; they override the parameter file."""
    texts = ("model", "backend", "image_size", "target_frame", "monocular_depth", "refine", "gravity_frame", "memory")
    settings = {name: text(values[name]) for name in texts if values[name]}
    if values["tour"]:
        kept = os.path.join(tempfile.gettempdir(), f"n3d_tour_{os.getpid()}.db")
        settings = {"memory": text(kept), "target_frame": text("map")} | settings
    query = values["query"]
    if values["demo"] and values["params_file"] == DEFAULT_PARAMETERS:
        query = query or DEMO_QUERY  # so that there is something to see
    if query:
        settings["continuous_query"] = text(query)
    if values["autostart"] is not None:
        settings["autostart"] = values["autostart"]
    return settings


def text(value: str) -> ParameterValue:
    """A string parameter, even if YAML would read it as a number or boolean."""
    return ParameterValue(value, value_type=str)


def rviz(namespace: str, config: str, clock: dict, inputs: dict, more: list) -> Node:
    """RViz on one camera."""
    # The DepthCloud display subscribes to the depth camera's info by an absolute name, ignoring its namespace.
    absolute = [("/depth/camera_info", inputs["depth/camera_info"])]
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespace,
        arguments=["-d", config or os.path.join(SHARE, "rviz", "grounding.rviz"), *more],
        parameters=[clock],
        remappings=[*inputs.items(), *absolute],
    )


def end_with(event: ProcessExited, context: LaunchContext) -> list:
    """Ends launch with the grounding node, with an error if the node failed."""
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f"the grounding node ended with exit code {event.returncode}; see its log above")
    return [EmitEvent(event=Shutdown(reason="the grounding node ended"))]


def environment(python: str, profile: str) -> list:
    """Variables for the nodes' interpreter and for Fast DDS; Kilted and later warn about its old variable name.

    A profile already set in the environment is kept, unless `dds_profile` is a file.
    """
    variables = {"N3D_PYTHON": python} if python else {}
    has_own = any(name in os.environ for name in PROFILES)
    if profile != "none" and not (profile == "shm" and has_own):
        path = os.path.join(SHARE, "config", "fastdds_shm.xml") if profile == "shm" else os.path.abspath(profile)
        old, new = PROFILES
        variables[old if os.environ.get("ROS_DISTRO") == "jazzy" else new] = path
    return [SetEnvironmentVariable(name, content) for name, content in variables.items()]


def generate_launch_description() -> LaunchDescription:
    """See the argument descriptions."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])
