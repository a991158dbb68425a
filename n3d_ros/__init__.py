"""The ROS 2 side: messages in, messages out.

An image comes in through `inputs` (topics), becomes a `Frame` by `n3d_core.messages`, is placed by `frames` (transforms
and boxes), answered in `queries` (queue, model, answer), and leaves through `outputs` (answers to messages). `node` has
what every node needs, `playback` the nodes that play recordings, `page` the one that serves browsers, and `demo` runs
camera and grounding node as processes.

In a checkout the generated interfaces (`n3d_ros.msg`, `.srv`, `.action`) are in a ROS prefix and the modules are here;
the path is extended so that both are found under one name.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
