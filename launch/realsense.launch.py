"""The grounding node on a RealSense camera: the driver with aligned depth, and its topic names.

ros2 launch n3d_ros realsense.launch.py            (driver and node)
ros2 launch n3d_ros realsense.launch.py driver:=false    (the driver runs already)
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """The driver's default names: namespace and camera are both `camera`."""
    camera = ["/", LaunchConfiguration("camera_namespace"), "/", LaunchConfiguration("camera_name")]
    driver = Node(
        package="realsense2_camera",
        executable="realsense2_camera_node",
        namespace=LaunchConfiguration("camera_namespace"),
        name=LaunchConfiguration("camera_name"),
        output="screen",
        parameters=[
            {
                "enable_color": True,
                "enable_depth": True,
                "enable_sync": True,
                "align_depth.enable": True,
                "rgb_camera.color_profile": LaunchConfiguration("profile"),
                "depth_module.depth_profile": LaunchConfiguration("profile"),
            }
        ],
        condition=IfCondition(LaunchConfiguration("driver")),
    )
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
            grounding,
            driver,
        ]
    )
