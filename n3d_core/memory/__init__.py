"""Objects over time: a map of what was seen, where, and whether it is still there. Knows no ROS."""
