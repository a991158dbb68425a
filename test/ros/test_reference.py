"""docs/ros.md says what the code does."""

import pytest
from n3d_ros.msg import Result

from n3d_core.errors import ConfigError
from n3d_ros.errors import TransformError, status_of
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.node.shipped import shipped
from tools.ros_reference import DOCUMENT, filled, parameter_table, tables


@pytest.mark.ros
def test_the_tables_of_the_document_are_up_to_date():
    document = shipped(DOCUMENT).read_text()
    assert filled(document, tables()) == document, "run python -m tools.ros_reference"


def test_a_parameter_is_told_with_its_range_default_and_moment():
    table = parameter_table(GroundingParameters)
    assert "| `pairing_tolerance` | float | `0.02` | 0 to 1 | at once |" in table
    assert "| `autostart` | bool | `true` |  | at start (read-only) |" in table


def test_a_transform_that_is_not_known_has_a_row_of_its_own_under_the_status_that_it_becomes():
    assert status_of(TransformError("no transform from 'optical' to 'map'")) == Result.NO_TRANSFORM
    (row,) = (line for line in shipped(DOCUMENT).read_text().splitlines() if "no transform from" in line)
    assert row.startswith("| `NO_TRANSFORM: no transform from")
    for name in ("target_frame", "gravity_frame", "transform_timeout"):
        assert f"`{name}`" in row


def test_a_table_without_a_place_is_an_error():
    with pytest.raises(ConfigError, match="'topics'"):
        filled("no marks", {"topics": "x"})
