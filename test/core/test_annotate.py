"""`n3d annotate` writes results into a copy of a bag, resumes, and never touches its source."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed")

from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from n3d_core.cli import annotate, main
from n3d_core.errors import ConfigError, QueryTimeoutError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.reasoning.question import Value
from n3d_core.recordings.annotation import ANSWER, DEFINITIONS, DETECTIONS, MARKERS, Journal, MessageWriter
from n3d_core.recordings.bag import Bag
from n3d_core.results import Answer, Grounding

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo" / "bag"
MUG = Box3D("red mug", (0.1, -0.2, 1.5), (0.08, 0.12, 0.09), 0.9, (4e-4, 0, 0, 0, 9e-4, 0, 0, 0, 25e-4))
CAN = Box3D("blue can", (0.4, -0.1, 1.2), (0.07, 0.13, 0.07), 0.7)
# Of vision_msgs 4.1.1, as ROS distributions release it.
OFFICIAL = {
    DETECTIONS: "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "vision_msgs/msg/Detection3D": "RIHS01_ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/msg/BoundingBox3D": "RIHS01_bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
}


class View:
    """A view that finds a mug, and knows how far it is from a can."""

    def ground(self, text: str, **_: Any) -> Grounding:
        return Grounding(text, [MUG], {"ground": 5.0}, 1.0)

    def ask(self, question: str, **_: Any) -> Answer:
        value = Value("length", number=0.44)
        return Answer(question, "0.44 m.", "0.40 m.", "because", "contradicted", "not 0.40", value, [MUG, CAN])


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Frame]:
    """The frames that the model has looked at; the model needs no weights."""
    seen: list[Frame] = []

    def look(frame: Frame) -> View:
        seen.append(frame)
        return View()

    monkeypatch.setattr(annotate, "load_model", lambda _args: SimpleNamespace(look=look))
    return seen


def messages(path: Path, topic: str) -> list[tuple[int, Any]]:
    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        wanted = [one for one in reader.connections if one.topic == topic]
        assert wanted, f"no {topic} in {[one.topic for one in reader.connections]}"
        return [(ns, reader.deserialize(raw, one.msgtype)) for one, ns, raw in reader.messages(wanted)]


def packets(path: Path) -> list[tuple[int, str, bytes]]:
    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        return [(ns, one.topic, bytes(raw)) for one, ns, raw in reader.messages()]


def as_sqlite(path: Path) -> Path:
    """The demo's bag in SQLite, split off its definitions as bags before Jazzy are."""
    store = get_typestore(Stores.ROS2_JAZZY)
    with AnyReader([DEMO]) as reader, Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        known = {one.id: writer.add_connection(one.topic, one.msgtype, typestore=store) for one in reader.connections}
        for one, ns, raw in reader.messages():
            writer.write(known[one.id], ns, raw)
    return path


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_the_types_are_those_of_ros() -> None:
    store = MessageWriter().store
    for kind, expected in OFFICIAL.items():
        assert store.hash_rihs01(kind) == expected
    for kind in (one for one in DEFINITIONS if one.startswith("n3d_ros/")):
        file = ROOT / "msg" / f"{kind.rpartition('/')[2]}.msg"
        assert get_types_from_msg(file.read_text(), kind) == get_types_from_msg(DEFINITIONS[kind], kind)


def test_a_result_is_a_message_of_the_image_with_every_value() -> None:
    writer = MessageWriter()
    frame = Frame(
        np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.float32), Camera.from_fov(60, 6, 4), 5_000_000_007, "optical"
    )
    found = writer.store.deserialize_cdr(writer.detections(frame, [MUG, CAN]), DETECTIONS)
    assert (found.header.frame_id, found.header.stamp.sec, found.header.stamp.nanosec) == ("optical", 5, 7)
    mug, can = found.detections
    (hypothesis,) = mug.results
    assert (hypothesis.hypothesis.class_id, hypothesis.hypothesis.score) == ("red mug", 0.9)
    assert hypothesis.pose.pose == mug.bbox.center
    assert (mug.bbox.center.position.x, mug.bbox.center.position.y, mug.bbox.center.position.z) == MUG.center
    assert (mug.bbox.size.x, mug.bbox.size.y, mug.bbox.size.z) == MUG.size
    assert mug.bbox.center.orientation.w == 1.0
    spread = hypothesis.pose.covariance.reshape(6, 6)
    np.testing.assert_allclose(np.diag(spread)[:3], [4e-4, 9e-4, 25e-4])
    assert spread[5, 5] == pytest.approx(np.pi**2)  # the angle is not known
    assert can.results[0].pose.covariance[0] == 1.0

    shown = writer.store.deserialize_cdr(writer.markers(frame, [MUG]), MARKERS).markers
    clear, edges, label = shown
    assert (clear.action, edges.action, edges.type, label.type) == (3, 0, 5, 9)
    points = np.array([[p.x, p.y, p.z] for p in edges.points])
    assert points.shape == (24, 3)
    np.testing.assert_allclose(np.ptp(points, axis=0), MUG.size)
    assert label.pose.position.y < MUG.center[1] - MUG.size[1] / 2  # above: y points down
    assert label.text == "red mug 0.90\n0.08 x 0.12 x 0.09 m"

    answer = writer.store.deserialize_cdr(writer.answer(frame, View().ask("How far?")), ANSWER)
    assert (answer.question, answer.answer, answer.said) == ("How far?", "0.44 m.", "0.40 m.")
    assert (answer.verdict, answer.value.kind, answer.value.number) == (2, 2, 0.44)
    assert (answer.result.status, len(answer.result.detections.detections)) == (1, 2)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "bare file"])
def test_the_copy_has_every_message_of_the_source_and_the_results(
    storage: str, looks: list[Frame], tmp_path: Path
) -> None:
    source = as_sqlite(tmp_path / "source") if storage == "sqlite3" else DEMO
    output = tmp_path / ("copy.mcap" if storage == "bare file" else "copy")
    before = digest(source)
    arguments = ["annotate", str(source), "--query", "red mug", "--ask", "How far?", "--output", str(output)]
    assert main(arguments) == 0
    assert digest(source) == before
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []
    if storage == "bare file":
        assert output.is_file()
    else:
        assert {p.suffix for p in output.iterdir()} == {".yaml", ".db3" if storage == "sqlite3" else ".mcap"}
    copied = packets(output)
    assert [one for one in copied if not one[1].startswith("/grounding/")] == packets(source)
    assert [ns for ns, *_ in copied] == sorted(ns for ns, *_ in copied)

    images = messages(source, "/color/image_raw")
    found = messages(output, "/grounding/detections")
    assert [ns for ns, _ in found] == [ns for ns, _ in images]
    assert [m.header.stamp for _, m in found] == [image.header.stamp for _, image in images]
    assert {m.detections[0].results[0].hypothesis.class_id for _, m in found} == {"red mug"}
    assert [m.verdict for _, m in messages(output, "/grounding/answers")] == [2, 2, 2]
    assert [len(m.markers) for _, m in messages(output, "/grounding/markers")] == [3, 3, 3]  # of the query's boxes
    assert len(looks) == 3
    names = Bag(output).rgbd_topics()
    assert (names.color, names.depth) == ("/color/image_raw", "/depth/image_raw")


def test_an_interrupted_run_continues_where_it_stopped(
    looks: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["annotate", str(DEMO), "--query", "red mug", "--output", str(tmp_path / "copy")]
    ground = View.ground

    def killed(self: View, text: str, **options: Any) -> Grounding:
        if len(looks) == 3:
            raise KeyboardInterrupt
        return ground(self, text, **options)

    monkeypatch.setattr(View, "ground", killed)
    assert main(arguments) == 130
    assert not (tmp_path / "copy").exists()
    journal = tmp_path / "copy.part" / "journal.jsonl"
    journal.write_text(journal.read_text() + '[1767225601000000000, [["detections", "AAE')  # a line cut by a crash
    monkeypatch.setattr(View, "ground", ground)

    assert main([*arguments, "--min-score", "0.5"]) == 1
    assert "unfinished run with another min-score" in capsys.readouterr().err
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "2 of 3 images are already done" in shown.err
    assert "3 of 3 images" in shown.err
    assert "3 images annotated" in shown.out
    assert len(looks) == 4
    assert len(messages(tmp_path / "copy", "/grounding/detections")) == 3


def test_an_image_that_fails_is_skipped_and_counted(
    looks: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(_self: View, text: str, **_: Any) -> Grounding:
        if len(looks) == 2:
            raise QueryTimeoutError("too slow")
        return Grounding(text, [], {}, 1.0)

    monkeypatch.setattr(View, "ground", slow)
    output = tmp_path / "copy"
    assert main(["annotate", str(DEMO), "--query", "mug", "--output", str(output)]) == 0
    shown = capsys.readouterr()
    assert "too slow" in shown.err
    assert "2 images annotated; 1 skipped" in shown.out
    assert [m.detections for _, m in messages(output, "/grounding/detections")] == [[], []]


def test_types_that_the_bag_does_not_define_are_copied_too(looks: list[Frame], tmp_path: Path) -> None:
    source = as_sqlite(tmp_path / "source")
    import sqlite3

    with sqlite3.connect(source / "source.db3") as database:
        database.execute("INSERT INTO topics VALUES (77, '/odd', 'odd_msgs/msg/Odd', 'cdr', '', '')")
        database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (77, 1767225600500000000, x'0102')")
    shutil.copy(source / "source.db3", tmp_path / "bare.db3")
    assert main(["annotate", str(tmp_path / "bare.db3"), "--query", "mug", "--output", str(tmp_path / "out.db3")]) == 0
    with sqlite3.connect(tmp_path / "out.db3") as database:
        rows = database.execute(
            "SELECT data FROM messages JOIN topics ON topics.id = topic_id WHERE name = '/odd'"
        ).fetchall()
    assert rows == [(b"\x01\x02",)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "nothing to do: give --query TEXT"),
        (["--query", " "], "--query must not be empty"),
        (["--query", "mug", "--every", "0"], "--every must be at least 1"),
        (["--query", "mug", "--namespace", "a b"], "must be an absolute ROS name"),
        (["--query", "mug", "--namespace", "/color"], "give another --namespace"),
        (["--query", "mug", "--color", "/nothing"], "no colour image topic"),
        (["--query", "mug", "--timeout", "0"], "more than 0 seconds"),
        (["--query", "mug", "--model", "no-such-model"], "no-such-model"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_written(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotate", str(DEMO), "--output", str(tmp_path / "copy"), *options]) == 1
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "copy"
    kept.write_text("mine")
    assert main(["annotate", str(DEMO), "--query", "mug", "--output", str(kept)]) == 1
    assert "already exists" in capsys.readouterr().err
    assert kept.read_text() == "mine"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert main(["annotate", str(DEMO), "--query", "mug", "--output", str(link)]) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(["annotate", str(kept), "--query", "mug", "--output", str(tmp_path / "other")]) == 1
    assert "cannot be read as a bag" in capsys.readouterr().err


def test_a_journal_of_other_settings_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl", {"query": ["mug"]})
    assert json.loads((tmp_path / "journal.jsonl").read_text()) == {"query": ["mug"]}
    with pytest.raises(ConfigError, match="another query"):
        Journal(tmp_path / "journal.jsonl", {"query": ["can"]})
    for damaged in ("\0\0\n", '{"query": ["mug"]}\n[1]\n'):
        (tmp_path / "journal.jsonl").write_text(damaged)
        with pytest.raises(ConfigError, match=r"journal.jsonl: cannot be read as .*; delete that folder"):
            Journal(tmp_path / "journal.jsonl", {"query": ["mug"]})


def test_the_shipped_model_annotates_the_shipped_bag(tmp_path: Path) -> None:
    output = tmp_path / "copy"
    assert main(["annotate", str(DEMO), "--query", "all objects", "--limit", "1", "--output", str(output)]) == 0
    ((_, found),) = messages(output, "/grounding/detections")
    assert len(found.detections) >= 2
    assert all(0.2 < one.bbox.center.position.z < 5 for one in found.detections)
    assert found.header.frame_id == "camera_color_optical_frame"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--depth-unit", "feet"], "got 'feet'"),
        (["--min-score", "50"], "--min-score must be from 0 to 1; got 50.0"),
        (["--depth-unit", "1e9"], "none of its 2 images can be used; the first: depth image 640x480 has no pixel"),
    ],
)
def test_settings_under_which_no_image_can_be_used_leave_nothing_behind(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = Path(__file__).parents[2] / "demo" / "bag"
    command = ["annotate", str(bag), "--output", str(tmp_path / "out"), "--query", "cone", "--limit", "2", *options]
    assert main(command) == 1
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
