"""Parameters of the page's node."""

from __future__ import annotations

from dataclasses import dataclass

from n3d_ros.node.parameters import AT_START, CheckedParameters, parameter


@dataclass(frozen=True)
class PageParameters(CheckedParameters):
    """See the texts; docs/ros.md is made from them."""

    port: int = parameter(
        8190,
        "Port of the page on 127.0.0.1; 0 takes a free one, which the log names. Of several cameras the first decides.",
        low=0,
        high=65535,
        when=AT_START,
    )
    rate: float = parameter(2.0, "Images a second that the page shows while it is open.", low=0.1, high=30.0)
    grounding: str = parameter("grounding", "Name of the grounding node, in this node's namespace.", when=AT_START)
    answer_timeout: float = parameter(
        120.0, "Seconds for which the page waits for the grounding node's answer.", low=1.0, high=3600.0
    )
