"""`pip install` of n3d_core and training where there is no ROS; all settings are in pyproject.toml."""

from setuptools import setup

setup()
