"""Parameters: what is declared, refused and applied."""

import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import rclpy
import yaml
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from n3d_core.decoding.sampling import SamplingName
from n3d_core.errors import ConfigError
from n3d_core.preparation import OnOtherSize
from n3d_ros.demo.node_process import _yaml
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.node.parameters import (
    AT_START,
    ON_CONFIGURE,
    CheckedParameters,
    ParameterSet,
    parameter,
    refuse_frozen,
    warn_of_unknown,
)
from n3d_ros.page.page_node import PageParameters
from n3d_ros.playback.camera_node import CameraParameters
from n3d_ros.queries.models import ModelPool, SharedModel


@dataclass(frozen=True)
class Settings(CheckedParameters):
    rate: float = parameter(1.0, "Hertz.", low=0.1, high=10.0)
    size: int = parameter(3, "How many.", low=1, high=9)
    mode: str = parameter("fast", "How.", choices=("fast", "slow"))
    name: str = parameter("x", "Who.", when=ON_CONFIGURE)
    fixed: bool = parameter(True, "Never changes.", when=AT_START)


@pytest.fixture
def make_node():
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes = []

    def make(**overrides):
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(Node("settings", context=context, parameter_overrides=values))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def test_overrides_are_read_and_descriptors_tell_range_choices_and_moment(make_node):
    node = make_node(size=7)
    settings = ParameterSet(node, Settings)
    assert settings.value == Settings(size=7)
    described = node.describe_parameter("size")
    assert (described.integer_range[0].from_value, described.integer_range[0].to_value) == (1, 9)
    assert described.description == "How many."
    assert node.describe_parameter("mode").additional_constraints == "one of fast, slow; takes effect: at once"
    assert node.describe_parameter("fixed").read_only


@pytest.mark.parametrize("service", [SetParameters, SetParametersAtomically])
def test_a_value_of_a_type_that_ros_does_not_know_is_refused_and_ends_nothing(client, service):
    ParameterSet(client.node, Settings)  # rclpy raises in the executor
    name = "set_parameters" + ("_atomically" if service is SetParametersAtomically else "")
    sent = [ParameterMessage(name="size", value=ParameterValue(type=99))]
    response = client.call(service, f"/client/{name}", 20.0, parameters=sent)
    result = response.result if service is SetParametersAtomically else response.results[0]
    assert not result.successful
    assert "cannot be" in result.reason  # undeclared, or left without a value
    assert client.node.get_parameter("size").value == 3


def test_a_camera_is_not_its_own_parent():
    assert CameraParameters(parent_frame="map").map_frame == "map"  # a fixed camera
    with pytest.raises(ConfigError, match="parent_frame must be another frame than frame_id; got 'eye'"):
        CameraParameters(frame_id="eye", parent_frame="eye")


ARRAYS = [[1, 2], [1.5], ["a", "b"], [True], [b"x"]]


def test_a_whole_number_does_for_a_float_at_start_and_later(make_node):
    node = make_node(rate=2)
    settings = ParameterSet(node, Settings)
    for set_to, kept in ((None, 2.0), (3, 3.0), (4.5, 4.5), (11, 4.5), (10, 10.0)):
        if set_to is not None:
            (answer,) = node.set_parameters([Parameter("rate", value=set_to)])
            assert answer.successful == (kept == set_to), answer.reason
        assert (settings.value.rate, node.get_parameter("rate").value) == (kept, kept)
        assert type(node.get_parameter("rate").value) is float
    with pytest.raises(ConfigError, match=r"rate must be between 0.1 and 10.0; got 99.0"):
        ParameterSet(make_node(rate=99), Settings)


@pytest.mark.parametrize("value", [True, "fast", *ARRAYS, Parameter.Type.NOT_SET])
def test_a_value_of_another_type_is_refused_whatever_the_parameter_and_changes_nothing(make_node, value):
    node = make_node()
    settings = ParameterSet(node, GroundingParameters)
    for each in fields(GroundingParameters):
        if isinstance(each.default, type(value)):
            continue
        if value is Parameter.Type.NOT_SET:
            (answer,) = node.set_parameters([Parameter(each.name, value)])
        else:
            (answer,) = node.set_parameters([Parameter(each.name, value=value)])
        assert not answer.successful, each.name
        if value is Parameter.Type.NOT_SET and each.name in ("refine", "max_depth"):  # rclpy refuses the others itself
            assert answer.reason == f"{each.name} cannot be deleted or left without a value"
        assert node.get_parameter(each.name).value == each.default
    assert settings.value == GroundingParameters()


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("grounding", True), ("/front/grounding", True), ("front/grounding", True), ("~/other", True), ("_x1", True)]
    + [(name, False) for name in ("", " ", "a b", "/", "a/", "//a", "1a", "a-b", "größe", "a\n")],
)
def test_a_node_that_is_named_must_be_able_to_exist(name, allowed):
    if allowed:
        assert PageParameters(grounding=name).grounding == name
        return
    with pytest.raises(ConfigError, match=r"grounding must be the name of the grounding node, such as .*; got '"):
        PageParameters(grounding=name)


@pytest.mark.parametrize("value", ["many", *ARRAYS])
def test_a_value_of_another_type_stops_the_start_with_its_name(make_node, value):
    for each in fields(GroundingParameters):
        if isinstance(each.default, type(value)):
            continue
        with pytest.raises((ConfigError, InvalidParameterTypeException), match=each.name):
            ParameterSet(make_node(**{each.name: value}), GroundingParameters)


def test_values_are_checked_before_they_are_applied_and_told_after(make_node):
    node, told = make_node(), []
    settings = ParameterSet(node, Settings)
    settings.watch(changed=told.append)
    good, bad = Parameter("mode", value="slow"), Parameter("mode", value="never")
    (answer,) = node.set_parameters([bad])
    assert not answer.successful
    assert answer.reason == "mode must be one of fast, slow; got 'never'"
    assert settings.value == Settings()
    (answer,) = node.set_parameters([good])
    assert answer.successful
    assert told == [Settings(mode="slow")]
    assert not node.set_parameters([Parameter("fixed", value=False)])[0].successful
    assert not node.set_parameters([Parameter("rate", value=99.0)])[0].successful
    assert told == [Settings(mode="slow")]


def test_a_set_of_which_one_is_bad_changes_nothing(make_node):
    node = make_node()
    settings = ParameterSet(node, Settings)
    together = [Parameter("size", value=5), Parameter("mode", value="never")]
    assert not node.set_parameters_atomically(together).successful
    assert settings.value == Settings()


def test_what_cannot_take_effect_now_is_refused_with_the_reason(make_node):
    node = make_node()
    frozen = {ON_CONFIGURE: "clean up first"}
    ParameterSet(node, Settings).watch(lambda now, wanted: refuse_frozen(now, wanted, frozen))
    assert (
        node.set_parameters([Parameter("name", value="y")])[0].reason
        == "name takes effect on configure: clean up first"
    )
    assert node.set_parameters([Parameter("size", value=5)])[0].successful
    frozen.clear()
    assert node.set_parameters([Parameter("name", value="y")])[0].successful


def test_what_the_node_offers_is_what_the_core_knows():
    offered = {each.name: each.metadata["choices"] for each in fields(GroundingParameters)}
    assert offered["sampling"] == get_args(SamplingName)
    assert offered["on_other_size"] == get_args(OnOtherSize)
    assert {"auto", "torch", "onnx", "onnx:int4", "tensorrt:int4", "torch:bf16+compile"} <= set(offered["backend"])


def test_the_shipped_parameter_file_says_the_defaults_but_for_what_a_start_wants():
    path = Path(__file__).parents[2] / "config" / "grounding.yaml"
    given = yaml.safe_load(path.read_text())["/**"]["grounding"]["ros__parameters"]
    defaults = GroundingParameters()
    others = {name: value for name, value in given.items() if value != getattr(defaults, name)}
    assert others == {"image_timeout": 2.0}  # the camera of a launch starts beside the node


def test_an_image_size_is_read_before_a_model_is_loaded_for_it():
    assert GroundingParameters(image_size="1280x720", on_other_size="error").model_choice.image_size == "1280x720"
    with pytest.raises(ConfigError, match=r"WIDTHxHEIGHT in pixels.*got '1280'"):
        GroundingParameters(image_size="1280")


def test_parameters_are_checked_without_torch():
    told = "from n3d_ros.grounding_node import *; import sys; GroundingParameters(image_size='64x48')"
    told += "; print([name for name in ('torch', 'transformers', 'onnxruntime') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_model_is_shared_by_those_who_want_the_same_of_it(monkeypatch):
    loaded = []
    monkeypatch.setattr("n3d_ros.queries.models._load", lambda choice: loaded.append(choice) or Loaded())
    pool, one = ModelPool(), GroundingParameters().model_choice
    first, second = pool.acquire(one), pool.acquire(GroundingParameters().model_choice)
    assert first is second
    assert pool.acquire(GroundingParameters(sampling="released").model_choice) is not first
    pool.release(first)
    assert pool.acquire(one) is first
    assert [choice.sampling for choice in loaded] == ["checkpoint", "released"]


class Loaded(SharedModel):
    """A model that needs no weights, to count loads."""

    def __init__(self) -> None:
        super().__init__(model=None)

    def warm_up(self) -> None:
        """Nothing to warm up."""


def test_an_override_outside_of_its_range_stops_the_start(make_node):
    with pytest.raises(InvalidParameterValueException):
        ParameterSet(make_node(rate=99.0), Settings)
    with pytest.raises(ConfigError, match="mode must be one of fast, slow; got 'never'"):
        ParameterSet(make_node(mode="never"), Settings)


@pytest.mark.parametrize("value", ["yes", "1", "it's", "", "a: b", "red mug"])
def test_text_stays_text_on_a_command_line(value):
    import yaml

    assert yaml.safe_load(_yaml(value)) == value


def test_a_parameter_that_does_not_exist_is_named_at_start(make_node, monkeypatch):
    told = []
    for overrides in ({"sise": 7, "qos_overrides./x.subscription.depth": 2, "use_sim_time": False, "mode": "slow"}, {}):
        node = make_node(**overrides)
        monkeypatch.setattr(node, "get_logger", lambda: SimpleNamespace(warning=told.append))
        ParameterSet(node, Settings)
        warn_of_unknown([node])
    assert told == ["ignoring unknown parameter sise; see `ros2 param list /settings`"]


@dataclass(frozen=True)
class Others(CheckedParameters):
    folder: str = parameter("", "Where.")


def test_a_parameter_that_another_node_of_the_process_has_is_not_named(make_node, monkeypatch):
    told, nodes = [], []
    for kind in (Settings, Others):
        nodes.append(make_node(folder="frames", size=7, sise=7))
        monkeypatch.setattr(nodes[-1], "get_logger", lambda: SimpleNamespace(warning=told.append))
        ParameterSet(nodes[-1], kind)
    assert told == []
    warn_of_unknown(nodes)
    assert [words.partition(";")[0] for words in told] == ["ignoring unknown parameter sise"] * 2
