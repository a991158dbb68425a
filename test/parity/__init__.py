"""Checks this package against golden vectors of the reference, stage by stage: `python -m test.parity DIR`."""

from test.parity.check import check_folder
from test.parity.report import Report

__all__ = ["Report", "check_folder"]
