"""The grounding node on a RealSense camera: the driver with aligned depth, and its topic names.

ros2 launch n3d_ros realsense.launch.py                  (driver and node)
ros2 launch n3d_ros realsense.launch.py driver:=false    (the driver is already running)
"""

import os

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "realsense2_camera"


def check(context: LaunchContext) -> list:
    """Runs before the first process starts, since launch would leave it running.

    Raises:
        ValueError: if the driver is requested but not installed, or `driver` is neither true nor false.
    """
    if not wanted(context):
        return []
    try:
        get_package_prefix(PACKAGE)
    except PackageNotFoundError as missing:
        raise ValueError(
            f"{PACKAGE} is not installed: apt install ros-$ROS_DISTRO-realsense2-camera, or set driver:=false if the "
            "driver is already running"
        ) from missing
    return []


def wanted(context: LaunchContext) -> bool:
    """Whether to start the driver."""
    value = LaunchConfiguration("driver").perform(context).strip().lower()
    if value not in ("true", "1", "false", "0"):
        raise ValueError(f"driver must be true or false; got {value!r}")
    return value in ("true", "1")


def driver(context: LaunchContext) -> list:
    """The driver, if requested."""
    if not wanted(context):
        return []
    profile = LaunchConfiguration("profile")
    settings = {
        "enable_color": True,
        "enable_depth": True,
        "enable_sync": True,
        "align_depth.enable": True,
        "rgb_camera.color_profile": profile,
        "depth_module.depth_profile": profile,
    }
    return [
        Node(
            package=PACKAGE,
            executable="realsense2_camera_node",
            namespace=LaunchConfiguration("camera_namespace"),
            name=LaunchConfiguration("camera_name"),
            output="screen",
            parameters=[settings],
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """The driver's default names: namespace and camera are both `camera`, under a pushed namespace if there is one."""
    pushed = LaunchConfiguration("ros_namespace", default="")
    camera = [pushed, "/", LaunchConfiguration("camera_namespace"), "/", LaunchConfiguration("camera_name")]
    grounding = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            os.path.join(get_package_share_directory("n3d_ros"), "launch", "grounding.launch.py")
        ),
        launch_arguments={
            "color": [*camera, "/color/image_raw"],
            "color_info": [*camera, "/color/camera_info"],
            "depth": [*camera, "/aligned_depth_to_color/image_raw"],
            "depth_info": [*camera, "/aligned_depth_to_color/camera_info"],
        }.items(),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("camera_namespace", default_value="camera", description="Namespace of the driver."),
            DeclareLaunchArgument("camera_name", default_value="camera", description="Name of the driver's node."),
            DeclareLaunchArgument(
                "profile", default_value="640x480x30", description="Size and rate of colour and depth."
            ),
            DeclareLaunchArgument(
                "driver", default_value="true", description="Start the driver (realsense2_camera) too."
            ),
            OpaqueFunction(function=check),
            grounding,
            OpaqueFunction(function=driver),
        ]
    )
