"""Camera messages read without ROS: objects of rclpy, or of the same shape out of a bag, become a `Frame`."""
