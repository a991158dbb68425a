"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# Other processes share the cores of a small machine: a slow example says nothing about the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
