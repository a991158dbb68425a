"""Turns camera messages (from rclpy or a bag) into a `Frame`, without needing ROS."""
