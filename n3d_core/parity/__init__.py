"""Checks this package against golden vectors of the reference, stage by stage: `python -m n3d_core.parity DIR`."""

from n3d_core.parity.check import check_folder
from n3d_core.parity.report import Report

__all__ = ["Report", "check_folder"]
