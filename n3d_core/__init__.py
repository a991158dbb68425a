"""N3D-VLM: words grounded to 3D boxes, and reasoning over them in metres. Knows no ROS and no training."""

__version__ = "0.1.0"
