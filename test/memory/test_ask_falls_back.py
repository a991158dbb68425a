"""`View.ask` with a memory: what is not in view is answered from the map, what is in view from the image."""

from pathlib import Path

import numpy as np
import pytest

from n3d_core import N3D
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.objects import RememberedObject
from n3d_core.memory.observations import Pose
from n3d_core.memory.recollection import Viewpoint, answer_from_memory
from n3d_core.view import View

FRAMES = Path(__file__).parents[2] / "demo" / "frames"  # frame 0 shows neither a bucket nor a chair
HERE = Viewpoint(Pose(np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], float), np.array([0.0, 0.0, 1.0])), 1000.0)


@pytest.fixture(scope="module")
def view() -> View:
    return N3D.load("n3d-tiny", backend="torch").look(FrameFolder(FRAMES).frame(0))


@pytest.fixture
def memory(tmp_path):
    opened = ObjectMap(tmp_path / "map.db")
    center, size = np.array([-2.0, 0.0, 0.3]), np.array([0.3, 0.3, 0.3])
    opened.add([RememberedObject({"white bucket": 1.0}, center, np.eye(3) * 1e-4, size, 0.0, 3.0, 700.0, 760.0, 760.0)])
    yield opened
    opened.close()


def test_ask_answers_from_memory_only_what_is_not_in_view(view: View, memory: ObjectMap) -> None:
    def recall(text, seen):
        return answer_from_memory(text, memory, HERE, seen)

    asked = "Where did you last see the white bucket?"
    answer = view.ask(asked, recall=recall)
    place = "2.1 m behind you, at (-2.00, 0.00, 0.30) in map."
    assert answer.answer == f"The white bucket was last seen 4 minutes ago, {place}"
    assert answer.question == asked
    assert (answer.verdict, answer.value.kind, len(answer.remembered)) == ("verified", "position", 1)
    assert "prefill" in answer.times
    assert view.ask("Is there a white bucket?", recall=recall).answer.startswith("Yes: The white bucket was last seen")
    assert view.ask("Where is the white bucket?").verdict == "not_seen"
    nowhere = view.ask("Where is the purple chair?", recall=recall)
    assert (nowhere.verdict, nowhere.remembered) == ("not_seen", [])
    across = view.ask("How far is the white bucket from the red cone?", recall=recall)
    assert [one.label for one in across.remembered] == ["white bucket", "red cone"]
    assert across.value.number == pytest.approx(np.linalg.norm(np.subtract(*(box.center for box in across.boxes))))
    seen = view.ask("How far is the red cone?", recall=recall)
    assert (seen.remembered, seen.value.kind) == ([], "length")
