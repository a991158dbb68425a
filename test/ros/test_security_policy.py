"""sros2/grounding.policy.xml lists what the node has in the ROS graph: nothing less, and nothing more."""

import xml.etree.ElementTree as ElementTree

import pytest
import rclpy

from n3d_ros.grounding_node import GroundingNode
from n3d_ros.inputs.rgbd_topics import RgbdTopics
from n3d_ros.node.shipped import shipped

pytestmark = pytest.mark.ros

POLICY = "sros2/grounding.policy.xml"
ACTION = "/_action/"


@pytest.fixture
def profile():
    found = ElementTree.parse(shipped(POLICY)).getroot().findall("enclaves/enclave/profiles/profile")
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def node():
    """The node with all of its input topics subscribed, unconfigured: no model is needed to see its names.

    It is the only one of its name in a domain that no other test uses.
    """
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=215)
    node = GroundingNode(context=context)
    inputs = RgbdTopics(node)
    inputs.depth_info.open()
    yield node
    node.close()
    node.destroy_node()
    rclpy.shutdown(context=context)


def allowed(profile, kind, right):
    """Full names of a kind (`topic`, `service`, `action`) that the profile allows a right."""
    namespace, name = profile.get("ns").rstrip("/"), profile.get("node")
    texts = [each.text for group in profile if group.get(right) == "ALLOW" for each in group.findall(kind)]
    prefixes = {"~": f"{namespace}/{name}", "/": ""}
    return sorted(prefixes[t[0]] + t.lstrip("~") if t[0] in prefixes else f"{namespace}/{t}" for t in texts)


def names(entries):
    return sorted(name for name, _ in entries if ACTION not in name)


def test_topics_are_those_that_the_node_publishes_and_subscribes(profile, node):
    whose = (node.get_name(), node.get_namespace())
    assert allowed(profile, "topic", "publish") == names(node.get_publisher_names_and_types_by_node(*whose))
    assert allowed(profile, "topic", "subscribe") == names(node.get_subscriber_names_and_types_by_node(*whose))


def test_services_and_actions_are_those_that_the_node_serves_and_it_calls_none(profile, node):
    whose = (node.get_name(), node.get_namespace())
    services = node.get_service_names_and_types_by_node(*whose)
    assert allowed(profile, "service", "reply") == names(services)
    assert allowed(profile, "action", "execute") == sorted({n.partition(ACTION)[0] for n, _ in services if ACTION in n})
    assert node.get_client_names_and_types_by_node(*whose) == []
    assert allowed(profile, "service", "request") == allowed(profile, "action", "call") == []


def test_what_is_allowed_is_spelled_as_sros2_reads_it(profile):
    rights = {"topics": {"publish", "subscribe"}, "services": {"reply", "request"}, "actions": {"call", "execute"}}
    assert ElementTree.parse(shipped(POLICY)).getroot().get("version") == "0.2.0"
    assert {group.tag for group in profile} == set(rights)
    for group in profile:
        assert set(group.attrib) <= rights[group.tag]
        assert {each.tag for each in group} == {group.tag.rstrip("s")}
        assert all(value == "ALLOW" for value in group.attrib.values())
