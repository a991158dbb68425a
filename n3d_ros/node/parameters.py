"""Parameters as a frozen dataclass: defaults, descriptions, ranges and checks in one place, for node and docs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from functools import partial
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    ParameterValue,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from n3d_core.errors import ConfigError, N3DError

# When a new value takes effect. The first is read-only; changes to the next two are refused when they would have no
# effect.
AT_START, ON_CONFIGURE, ON_ACTIVATE, AT_ONCE = "at start (read-only)", "on configure", "on activate", "at once"


def parameter(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    when: str = AT_ONCE,
    also: Mapping[str | bool, str] | None = None,
) -> Any:
    """A dataclass field for a ROS parameter: description, range or choices, and when a new value takes effect.

    `also` maps other spellings to values. YAML reads a bare `off` or `no` as a boolean, so False can be one of them.
    """
    rule = {"text": text, "low": low, "high": high, "choices": tuple(choices), "when": when, "also": dict(also or {})}
    return field(default=default, metadata=rule)


_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class CheckedParameters:
    """Base of a parameter set; construction checks every value.

    Raises:
        ConfigError: naming the parameter, the value and what is allowed.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            rule = each.metadata
            value = spelled(each, getattr(self, each.name))
            object.__setattr__(self, each.name, value)
            kind = type(each.default)
            if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
                raise ConfigError(f"{each.name} must be {_TYPES[kind]}; got {value!r}")
            if rule["choices"] and value not in rule["choices"]:
                raise ConfigError(f"{each.name} must be one of {', '.join(rule['choices'])}; got {value!r}")
            if rule["low"] is not None and not rule["low"] <= value <= rule["high"]:
                raise ConfigError(f"{each.name} must be between {rule['low']} and {rule['high']}; got {value}")


def spelled(each: Field[Any], value: Any) -> Any:
    """A parameter's value in its canonical spelling; a whole number does for a float. Other values stay as they are."""
    if isinstance(each.default, float) and type(value) is int:
        return float(value)
    return each.metadata["also"].get(value, value) if isinstance(value, str | bool) else value


def named(grounding: str) -> None:
    """Checks the parameter `grounding` of a client.

    Raises:
        ConfigError: if it is no name of a node.
    """
    if re.fullmatch(r"(~/|/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", grounding, re.ASCII) is None:
        raise ConfigError(
            "grounding must be the name of the grounding node, such as grounding or /front/grounding; got "
            f"{grounding!r}"
        )


P = TypeVar("P", bound=CheckedParameters)


def _accept(_now: Any, _wanted: Any) -> None:
    """Accepts every value."""


def _ignore(_value: Any) -> None:
    """Does nothing."""


class ParameterSet(Generic[P]):
    """The parameters of a node: declared with descriptors, checked before a change is applied, read through `value`.

    Declaring them does not call back into the node. Until the node calls `watch`, at the end of its constructor, only
    the dataclass checks changes.

    Args:
        node: the node that declares them.
        kind: the dataclass.
    """

    def __init__(self, node: Node, kind: type[P]) -> None:
        self._check: Callable[[P, P], None] = _accept
        self._changed: Callable[[P], None] = _ignore
        self._fields = {each.name: each for each in fields(kind)}
        self.value: P = kind(**{each.name: self._declared(node, each) for each in fields(kind)})
        for service in node.services:
            if service.srv_name.rpartition("/")[2].startswith("set_parameters"):
                service.callback = partial(_typed, service.callback)
        node.add_pre_set_parameters_callback(self._spelled)
        node.add_on_set_parameters_callback(self._on_set)
        node.add_post_set_parameters_callback(self._after_set)

    def watch(self, check: Callable[[P, P], None] = _accept, changed: Callable[[P], None] = _ignore) -> None:
        """Starts calling the node back; call it once everything that the callbacks use exists.

        Args:
            check: takes the current and the requested values; raises an `N3DError` to refuse them.
            changed: called with new values after they have been applied.
        """
        self._check, self._changed = check, changed

    def _declared(self, node: Node, each: Field[Any]) -> Any:
        """The start value of a parameter, in its canonical spelling."""
        given = node.declare_parameter(each.name, each.default, descriptor(each)).value
        value = spelled(each, given)
        if value is not given and not node.describe_parameter(each.name).read_only:
            node.set_parameters([Parameter(each.name, value=value)])
        return value

    def _spelled(self, parameters: list[Parameter]) -> list[Parameter]:
        """The same parameters, in their canonical spellings."""
        return [
            Parameter(each.name, value=spelled(self._fields[each.name], each.value))
            if each.name in self._fields and each.value is not None
            else each
            for each in parameters
        ]

    def _with(self, parameters: Sequence[Parameter]) -> P:
        return replace(self.value, **{each.name: each.value for each in parameters if each.name in self._fields})

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        try:
            if gone := [each.name for each in parameters if each.name in self._fields and each.value is None]:
                raise ConfigError(f"{gone[0]} cannot be deleted or left without a value")
            if any(each.name in self._fields for each in parameters):
                self._check(self.value, self._with(parameters))
        except N3DError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _after_set(self, parameters: Sequence[Parameter]) -> None:
        before, self.value = self.value, self._with(parameters)
        if self.value != before:
            self._changed(self.value)


def _typed(callback: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
    """Calls rclpy's own callback without the types that it does not know: it would raise, which ends the process."""
    for each in request.parameters:
        if each.value.type > ParameterType.PARAMETER_STRING_ARRAY:
            each.value = ParameterValue()
    return callback(request, response)


def warn_of_unknown(nodes: Sequence[Node]) -> None:
    """Warns about parameters given at start that no node of the process declares: ROS silently ignores them.

    Parameters on the command line go to all nodes of a process; each takes the ones it declares.
    """
    for node in nodes:
        given: Sequence[str] = list(getattr(node, "_parameter_overrides", {}))  # no public API (rclpy 7.1, 9.1)
        unknown = [name for name in given if not name.startswith("qos_overrides.")]
        unknown = [name for name in unknown if not any(each.has_parameter(name) for each in nodes)]
        if not unknown:
            continue
        node.get_logger().warning(
            f"ignoring unknown parameter {', '.join(sorted(unknown))}; see "
            f"`ros2 param list {node.get_fully_qualified_name()}`"
        )


def refuse_frozen(now: CheckedParameters, wanted: CheckedParameters, frozen: dict[str, str]) -> None:
    """Refuses changes that would have no effect: `frozen` maps each `when` that has passed to a reason.

    Raises:
        ConfigError: naming the parameter and the reason.
    """
    for each in fields(now):
        if each.metadata["when"] in frozen and getattr(now, each.name) != getattr(wanted, each.name):
            raise ConfigError(f"{each.name} takes effect {each.metadata['when']}: {frozen[each.metadata['when']]}")


def descriptor(each: Field[Any]) -> ParameterDescriptor:
    """What `ros2 param describe` shows for a field made by `parameter`."""
    rule = each.metadata
    out = ParameterDescriptor(name=each.name, description=rule["text"], read_only=rule["when"] == AT_START)
    out.dynamic_typing = bool(rule["also"]) or isinstance(each.default, float)  # `spelled` and the dataclass check it
    notes = [f"one of {', '.join(rule['choices'])}"] if rule["choices"] else []
    out.additional_constraints = "; ".join([*notes, f"takes effect: {rule['when']}"])
    if rule["low"] is not None and isinstance(each.default, float):
        out.floating_point_range = [FloatingPointRange(from_value=float(rule["low"]), to_value=float(rule["high"]))]
    elif rule["low"] is not None:
        out.integer_range = [IntegerRange(from_value=int(rule["low"]), to_value=int(rule["high"]), step=1)]
    return out
