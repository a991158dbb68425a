"""An empty map of objects, and how a camera that is held level looks into it."""

import numpy as np
import pytest

from n3d_core.memory.object_map import ObjectMap

AHEAD = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], float)  # the optical axis along the map's x


@pytest.fixture
def memory(tmp_path):
    opened = ObjectMap(tmp_path / "map.db")
    yield opened
    opened.close()
