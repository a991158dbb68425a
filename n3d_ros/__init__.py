"""The ROS 2 side: messages in, messages out. The only code that knows messages.

In a checkout the generated interfaces (`n3d_ros.msg`, `.srv`, `.action`) lie in a ROS prefix and the modules here; the
path is extended so that both are found under one name.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
