"""The bag player as a process, over DDS, on a bag that demo/make_bag.py has made."""

import importlib.util
import struct
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from n3d_core.errors import BagError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder, write_frame
from n3d_core.messages.images import color_array, depth_array
from n3d_core.recordings.bag import Bag
from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.node.shipped import demo_frames, shipped
from n3d_ros.playback.bag_node import BagNode, PassTimes, _stamp

pytest.importorskip("rosbags", reason="bags need rosbags (make test installs it)")
pytestmark = pytest.mark.ros

RATE = 10.0


def nanoseconds(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


@pytest.fixture(scope="module")
def make_bag() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_bag", shipped("demo/make_bag.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> FrameFolder:
    """Three small frames whose first pixels tell them apart."""
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(5)
    for index in range(3):
        color = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        color[0, 0] = index
        depth = np.full((24, 32), 1.0 + index, np.float32)
        depth[0, 0] = np.nan
        write_frame(folder, index, Frame(color, depth, Camera.from_fov(60, 32, 24)))
    return FrameFolder(folder)


@pytest.fixture(scope="module")
def bag(frames, make_bag, tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "three"
    make_bag.write_bag(frames, path, RATE)
    return path


def test_a_bag_holds_the_frames_of_its_folder_and_where_the_camera_is(bag, frames):
    read = Bag(bag)
    names = read.rgbd_topics()
    assert (names.color, names.color_info) == ("/color/image_raw", "/color/camera_info")
    assert (names.depth, names.depth_info) == ("/depth/image_raw", "/depth/camera_info")
    stamps = read.stamps(names.color)
    assert [b - a for a, b in pairwise(stamps)] == [100_000_000, 100_000_000]
    for index, stamp in enumerate(stamps):
        frame = frames.frame(index)
        color, depth = read.message(names.color, stamp), read.message(names.depth, stamp)
        assert np.array_equal(color.data.reshape(24, 32, 3), frame.color)
        metres = depth.data.view("<u2").reshape(24, 32) / 1000
        np.testing.assert_allclose(metres, np.nan_to_num(frame.depth), atol=1e-6)
    info = read.message(names.color_info)
    assert Camera.from_matrix(info.k, info.width, info.height) == frames.camera
    (transform,) = read.message("/tf_static").transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ("camera_link", color.header.frame_id)


def test_the_same_frames_give_the_same_bag(bag, frames, make_bag, tmp_path):
    make_bag.write_bag(frames, tmp_path / "three", RATE)
    for file in ("three.mcap", "metadata.yaml"):
        assert (tmp_path / "three" / file).read_bytes() == (bag / file).read_bytes()


def test_a_folder_that_is_no_bag_is_not_replaced(frames, make_bag, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BagError, match="left alone"):
        make_bag.write_bag(frames, tmp_path, RATE)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_shipped_bag_shows_the_shipped_frames():
    read, frames = Bag(shipped("demo/bag")), FrameFolder(demo_frames())
    stamps = read.stamps("/color/image_raw")
    shown = [read.message("/color/image_raw", stamp).data for stamp in stamps]
    assert len(shown) == len(frames), "run python demo/make_bag.py"
    for index, data in enumerate(shown):
        assert np.array_equal(data, frames.frame(index).color.reshape(-1)), "run python demo/make_bag.py"


def test_a_bag_is_played_in_a_loop_stamped_with_now(bag, frames, client):
    images = client.listen(Image, "/color/image_raw")
    depths = client.listen(Image, "/depth/image_raw")
    infos = client.listen(CameraInfo, "/color/camera_info")
    with NodeProcess("n3d_ros.playback.bag_node", {"bag": str(bag)}) as player:
        client.until(lambda: len(images) >= 8 and len(depths) >= 8 and len(infos) >= 8, 60)
        before = client.node.get_clock().now().nanoseconds
        images.clear()
        client.until(lambda: len(images) >= 7, 60)
        after = client.node.get_clock().now().nanoseconds
        assert player.interrupt() == 0
    stamps = [nanoseconds(image.header.stamp) for image in images]
    assert before - 1e9 < stamps[0] < stamps[-1] < after + 5e8
    order = [int(color_array(image)[0, 0, 0]) for image in images]
    assert all(b == (a + 1) % 3 for a, b in pairwise(order)), order
    # within a pass the steps are the recorded ones exactly; between passes they are what the clock says
    steps = [(b - a) / 1e6 for (a, b), at in zip(pairwise(stamps), order, strict=False) if at != 2]
    assert steps == pytest.approx([100.0] * len(steps), abs=1e-3)
    assert {nanoseconds(depth.header.stamp) for depth in depths} & set(stamps)
    for image in images:
        assert np.array_equal(color_array(image), frames.frame(int(color_array(image)[0, 0, 0])).color)
    depth = depth_array(depths[0])
    assert np.isnan(depth[0, 0])
    assert depth[1, 1] in (1.0, 2.0, 3.0)
    assert infos[0].width == 32


def test_with_a_clock_the_recorded_time_goes_on_and_never_back(bag, client, make_bag):
    images, ticks = client.listen(Image, "/color/image_raw"), client.listen(Clock, "/clock", 1000)
    with NodeProcess("n3d_ros.playback.bag_node", {"bag": str(bag), "clock": True, "rate": 2.0}):
        client.until(lambda: len(images) >= 8 and len(ticks) > 20, 60)
    stamps = [nanoseconds(image.header.stamp) for image in images]
    assert {(stamp - make_bag.START_NS) % 100_000_000 for stamp in stamps} == {0}
    assert all(b - a == 100_000_000 for a, b in pairwise(stamps))  # from pass to pass too
    clock = [nanoseconds(tick.clock) for tick in ticks]
    assert clock == sorted(clock)
    assert stamps[0] <= clock[-1]


def test_a_player_beside_the_one_that_has_the_clock_waits_for_it_and_stamps_by_it(bag, client):
    images, ticks = client.listen(Image, "/color/image_raw"), client.node.create_publisher(Clock, "/clock", 1)
    values = {"bag": str(bag), "use_sim_time": True, "rate": 2.0}
    given = [Parameter(name, value=value) for name, value in values.items()]
    player = BagNode(context=client.node.context, parameter_overrides=given)
    client.executor.add_node(player)
    player.start()
    try:
        client.until(lambda: ticks.get_subscription_count() and client.node.count_publishers("/color/image_raw"))
        for _ in range(10):
            client.executor.spin_once(0.05)
        assert images == []
        client.until(lambda: ticks.publish(Clock(clock=Time(sec=1000))) or len(images) >= 4)
        assert client.node.count_publishers("/clock") == 1
    finally:
        player.close()
        player.destroy_node()
    stamps = sorted({nanoseconds(image.header.stamp) - 1000 * 10**9 for image in images})
    assert 0 <= stamps[0] < 100_000_000
    assert [stamp - stamps[0] for stamp in stamps] == [0, 100_000_000, 200_000_000]


def test_a_node_without_a_bag_says_what_is_wrong(tmp_path, capfd):
    with NodeProcess("n3d_ros.playback.bag_node", {"bag": str(tmp_path / "none")}) as player:
        assert player._process.wait(60) == 1
    assert f"cannot start: {tmp_path / 'none'}: cannot be read as a bag" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        ({"color": "/nothing"}, "no colour image topic /nothing; image topics are"),
        ({"color": "/depth/image_raw"}, "/depth/image_raw holds 16UC1, not colour"),
        ({"depth": "/color/image_raw"}, "/color/image_raw holds rgb8, not depth"),
    ],
)
def test_a_topic_that_is_not_what_it_is_named_for_is_refused(topics, words):
    with pytest.raises(BagError, match=words):
        Bag(shipped("demo/bag")).rgbd_topics(**topics)


def test_a_recording_that_was_cut_short_comes_with_its_cure(tmp_path):
    whole = (shipped("demo/bag") / "bag.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BagError, match=r"cut\.mcap: cannot be read as a bag .*`mcap recover`"):
        Bag(tmp_path / "cut.mcap")


def test_the_path_of_a_bag_or_a_folder_may_begin_in_the_home_folder(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for kind, parameter in (("bag", "bag"), ("camera", "folder")):
        with NodeProcess(f"n3d_ros.playback.{kind}_node", {parameter: "~/none"}) as player:
            assert player._process.wait(60) == 1
        assert f"cannot start: {tmp_path / 'none'}: " in capfd.readouterr().err


def test_stamps_of_a_faster_pass_keep_their_ratio():
    times = PassTimes(1_000, 5_000, rate=2.0)
    assert [times(stamp) for stamp in (1_000, 1_200, 900)] == [5_000, 5_100, 4_950]


def test_a_message_that_was_never_stamped_stays_so_and_one_of_another_clock_is_named():
    now_ns, recorded_ns = 1_800_000_000 * 10**9, 1_767_225_600 * 10**9
    for rate in (1.0, 0.1):
        assert PassTimes(recorded_ns, now_ns, rate)(0) == 0
    assert PassTimes(recorded_ns, recorded_ns + 5)(0) == 0
    with pytest.raises(BagError, match=r"1767220600 s from the first image.*clock:=true"):
        PassTimes(5_000 * 10**9, now_ns)(recorded_ns)
    with pytest.raises(BagError, match=r"-1767220600 s from the first image"):
        PassTimes(recorded_ns, now_ns, 0.5)(5_000 * 10**9)


def test_only_plain_cdr_is_restamped():
    assert _stamp(b"\x00\x01\x00\x00" + struct.pack("<iI", 3, 7)) == 3_000_000_007
    assert _stamp(b"\x00\x00\x00\x00" + struct.pack(">iI", 3, 7)) == 3_000_000_007
    with pytest.raises(BagError, match="plain CDR"):
        _stamp(b"\x00\x07\x00\x00" + bytes(8))
