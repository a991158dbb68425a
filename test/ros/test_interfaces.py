"""The built interfaces are those that the rest of the world speaks: type hashes, constants and fields."""

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: run `make test`")
pytestmark = pytest.mark.ros

# RIHS01 hashes of the official packages; equal hashes mean compatible on the wire.
OFFICIAL = {
    "Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "VisionInfo": "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
    "LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
}


@pytest.fixture(scope="module")
def node():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("interface_test", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize("name", OFFICIAL)
def test_vision_msgs_has_the_official_type_hash_on_the_wire(node, name):
    from vision_msgs import msg

    publisher = node.create_publisher(getattr(msg, name), f"/type_hash/{name.lower()}", 1)
    (endpoint,) = node.get_publishers_info_by_topic(publisher.topic_name)
    node.destroy_publisher(publisher)
    assert endpoint.topic_type == f"vision_msgs/msg/{name}"
    assert str(endpoint.topic_type_hash) == f"RIHS01_{OFFICIAL[name]}"


def test_tf2_msgs_has_the_official_type_hash_on_the_wire(node):
    from tf2_msgs.msg import TFMessage

    publisher = node.create_publisher(TFMessage, "/type_hash/tf", 1)
    (endpoint,) = node.get_publishers_info_by_topic(publisher.topic_name)
    node.destroy_publisher(publisher)
    assert str(endpoint.topic_type_hash) == "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"


def test_result_status_codes():
    from n3d_ros.msg import Result

    names = "UNSET OK NO_IMAGE STALE_IMAGE BUSY EMPTY_TEXT TEXT_TOO_LONG CANCELLED TIMEOUT BAD_DEPTH BAD_CAMERA"
    names += " UNPARSABLE MODEL_FAILURE NOT_ACTIVE NO_TRANSFORM REPLACED"
    assert [getattr(Result, name) for name in names.split()] == list(range(16))


def test_answer_and_query_constants():
    from n3d_ros.action import Query
    from n3d_ros.msg import Answer, RememberedObject, Value

    verdicts = "UNSET VERIFIED CONTRADICTED UNVERIFIABLE NOT_SEEN"
    assert [getattr(Answer, name) for name in verdicts.split()] == list(range(5))
    kinds = "NONE TRUTH LENGTH COUNT OBJECTS DIRECTION POSITION"
    assert [getattr(Value, name) for name in kinds.split()] == list(range(7))
    states = "UNSET PRESENT GONE UNCERTAIN"
    assert [getattr(RememberedObject, name) for name in states.split()] == list(range(4))
    assert (Query.Goal.GROUND, Query.Goal.ASK) == (0, 1)


def test_an_empty_message_is_no_success():
    from n3d_ros.action import Query
    from n3d_ros.srv import Ask, Ground

    for answer in (Query.Result().answer, Ask.Response().answer):
        assert (answer.verdict, answer.value.kind) == (answer.UNSET, answer.value.NONE)
        assert answer.result.status == answer.result.UNSET
    assert Ground.Response().result.status == 0
    assert Ground.Response().result.OK != 0


def test_fields_are_those_of_the_contract():
    from n3d_ros.action import Query
    from n3d_ros.msg import Answer, RememberedObject, Result, StageTime, Value
    from n3d_ros.srv import Ask, Forget, Ground, Recall

    fields = {kind: kind.get_fields_and_field_types() for kind in (Result, StageTime, Value, Answer)}
    assert fields[StageTime] == {"stage": "string", "seconds": "float"}
    assert fields[Value] == {
        "kind": "uint8",
        "truth": "boolean",
        "number": "double",
        "objects": "sequence<uint32>",
        "point": "geometry_msgs/Point",
    }
    assert fields[Result] == {
        "header": "std_msgs/Header",
        "text": "string",
        "status": "uint8",
        "message": "string",
        "warnings": "sequence<string>",
        "detections": "vision_msgs/Detection3DArray",
        "times": "sequence<n3d_ros/StageTime>",
    }
    assert fields[Answer] == {
        "result": "n3d_ros/Result",
        "question": "string",
        "answer": "string",
        "said": "string",
        "reasoning": "string",
        "verdict": "uint8",
        "verdict_reason": "string",
        "value": "n3d_ros/Value",
    }
    assert RememberedObject.get_fields_and_field_types() == {
        "detection": "vision_msgs/Detection3D",
        "state": "uint8",
        "existence": "float",
        "first_seen": "builtin_interfaces/Time",
        "last_seen": "builtin_interfaces/Time",
        "observations": "uint32",
    }
    assert Recall.Request.get_fields_and_field_types() == {
        "text": "string",
        "max_age": "builtin_interfaces/Duration",
    }
    assert Recall.Response.get_fields_and_field_types() == {
        "result": "n3d_ros/Result",
        "objects": "sequence<n3d_ros/RememberedObject>",
    }
    assert Forget.Request.get_fields_and_field_types() == {"text": "string", "ids": "sequence<string>"}
    assert Forget.Response.get_fields_and_field_types() == Recall.Response.get_fields_and_field_types()
    assert Ground.Request.get_fields_and_field_types() == {"text": "string"}
    assert Ground.Response.get_fields_and_field_types() == {"result": "n3d_ros/Result"}
    assert Ask.Request.get_fields_and_field_types() == {"question": "string"}
    assert Ask.Response.get_fields_and_field_types() == {"answer": "n3d_ros/Answer"}
    assert Query.Goal.get_fields_and_field_types() == {"text": "string", "mode": "uint8"}
    assert Query.Result.get_fields_and_field_types() == {"answer": "n3d_ros/Answer"}
    assert Query.Feedback.get_fields_and_field_types() == {
        "stage": "string",
        "new_detections": "sequence<vision_msgs/Detection3D>",
        "text_so_far": "string",
    }


def test_modules_and_generated_interfaces_live_in_one_package():
    import n3d_ros.msg

    import n3d_ros
    import n3d_ros.node.shipped

    assert n3d_ros.node.shipped.__name__.startswith(n3d_ros.__name__)
    assert n3d_ros.msg.__file__ != n3d_ros.node.shipped.__file__
    assert len(set(n3d_ros.__path__)) == len(list(n3d_ros.__path__))
