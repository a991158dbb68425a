"""Parameters as one frozen dataclass: defaults, texts, ranges and checks in one place, for node and docs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from n3d_core.errors import ConfigError, N3DError

# When a new value takes effect. The first is read-only; the next two are refused while they could not take effect.
AT_START, ON_CONFIGURE, ON_ACTIVATE, AT_ONCE = "at start (read-only)", "on configure", "on activate", "at once"


def parameter(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    when: str = AT_ONCE,
) -> Any:
    """A dataclass field that is a ROS parameter: its text, its range or choices, and when a new value takes effect."""
    return field(
        default=default, metadata={"text": text, "low": low, "high": high, "choices": tuple(choices), "when": when}
    )


@dataclass(frozen=True)
class CheckedParameters:
    """Base of a parameter set; construction checks every value.

    Raises:
        ConfigError: naming the parameter, the value and what is wanted.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value, rule = getattr(self, each.name), each.metadata
            if rule["choices"] and value not in rule["choices"]:
                raise ConfigError(f"{each.name} is {value!r}: one of {', '.join(map(repr, rule['choices']))} is wanted")
            if rule["low"] is not None and not rule["low"] <= value <= rule["high"]:
                raise ConfigError(f"{each.name} is {value}: {rule['low']} to {rule['high']} is wanted")


P = TypeVar("P", bound=CheckedParameters)


def _accept(_now: Any, _wanted: Any) -> None:
    """Every value that passes the ranges will do."""


def _ignore(_value: Any) -> None:
    """Nobody needs to be told."""


class ParameterSet(Generic[P]):
    """The parameters of a node: declared with descriptors, checked before a change is applied, read through `value`.

    Args:
        node: the node that declares them.
        kind: the dataclass.
        check: given the present and the wanted values, raises an `N3DError` with the reason to refuse them.
        changed: told of new values after they have been applied.
    """

    def __init__(
        self, node: Node, kind: type[P], check: Callable[[P, P], None] = _accept, changed: Callable[[P], None] = _ignore
    ) -> None:
        self._check = check
        self._changed = changed
        self.value: P = kind(
            **{
                each.name: node.declare_parameter(each.name, each.default, descriptor(each)).value
                for each in fields(kind)
            }
        )
        node.add_on_set_parameters_callback(self._on_set)
        node.add_post_set_parameters_callback(self._after_set)

    def _with(self, parameters: Sequence[Parameter]) -> P:
        names = {each.name for each in fields(self.value)}
        return replace(self.value, **{each.name: each.value for each in parameters if each.name in names})

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        try:
            self._check(self.value, self._with(parameters))
        except N3DError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _after_set(self, parameters: Sequence[Parameter]) -> None:
        before, self.value = self.value, self._with(parameters)
        if self.value != before:
            self._changed(self.value)


def warn_of_unknown(nodes: Sequence[Node]) -> None:
    """Names parameters that were given at start and that no node of the process has: ROS ignores them without a word.

    What is given on a command line goes to all nodes of a process; each takes what it knows.
    """
    for node in nodes:
        given: Sequence[str] = list(getattr(node, "_parameter_overrides", {}))  # rclpy offers no public way (7.1, 9.1)
        unknown = [name for name in given if not name.startswith("qos_overrides.")]
        unknown = [name for name in unknown if not any(each.has_parameter(name) for each in nodes)]
        if not unknown:
            continue
        node.get_logger().warning(
            f"there is no parameter {', '.join(sorted(unknown))}: what was given for it is not used; see "
            f"`ros2 param list {node.get_fully_qualified_name()}`"
        )


def refuse_frozen(now: CheckedParameters, wanted: CheckedParameters, frozen: dict[str, str]) -> None:
    """Refuses changes that could not take effect: `frozen` gives a reason for each `when` that is past.

    Raises:
        ConfigError: naming the parameter and the reason.
    """
    for each in fields(now):
        if each.metadata["when"] in frozen and getattr(now, each.name) != getattr(wanted, each.name):
            raise ConfigError(f"{each.name} takes effect {each.metadata['when']}: {frozen[each.metadata['when']]}")


def descriptor(each: Field[Any]) -> ParameterDescriptor:
    """What `ros2 param describe` shows of a field made by `parameter`."""
    rule = each.metadata
    out = ParameterDescriptor(name=each.name, description=rule["text"], read_only=rule["when"] == AT_START)
    notes = [f"one of {', '.join(rule['choices'])}"] if rule["choices"] else []
    out.additional_constraints = "; ".join([*notes, f"takes effect: {rule['when']}"])
    if rule["low"] is not None and isinstance(each.default, float):
        out.floating_point_range = [FloatingPointRange(from_value=float(rule["low"]), to_value=float(rule["high"]))]
    elif rule["low"] is not None:
        out.integer_range = [IntegerRange(from_value=int(rule["low"]), to_value=int(rule["high"]), step=1)]
    return out
