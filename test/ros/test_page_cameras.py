"""One page for several cameras: each is shown and asked under its own namespace."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from test.ros.chromium import until
from test.ros.served_page import BOX, Page, write_plain_frame

pytestmark = pytest.mark.ros

CAMERAS = {"/front": ((200, 30, 10), BOX), "/rear": ((10, 30, 200), replace(BOX, label="green car"))}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = Page(
        {name: (write_plain_frame(tmp_path_factory.mktemp(name[1:]), rgb), box) for name, (rgb, box) in CAMERAS.items()}
    )
    yield page
    page.close()


def test_the_page_lists_the_cameras_by_their_namespaces(page):
    assert page.json("/cameras") == {"cameras": ["/front", "/rear"]}


def test_a_question_goes_to_the_camera_it_is_for_and_only_to_that(page):
    status, reply = page.ask({"text": "red mug", "mode": "ground"}, camera="/front")
    assert (status, [box["label"] for box in reply["boxes"]]) == (200, [BOX.label])
    status, reply = page.ask({"text": "a car", "mode": "ground"}, camera="/rear")
    assert (status, [box["label"] for box in reply["boxes"]]) == (200, ["green car"])
    assert {name: node.asked for name, node in page.groundings.items()} == {"/front": ["red mug"], "/rear": ["a car"]}


def test_only_the_camera_that_is_looked_at_is_subscribed(page):
    until(lambda: page.status("/rear")["sees"], 20)
    graph = page.groundings["/rear"]
    seen = {name: graph.get_subscriptions_info_by_topic(f"{name}/color/image_raw") for name in CAMERAS}
    assert {name: [each.node_namespace for each in infos] for name, infos in seen.items()} == {
        "/front": [],
        "/rear": ["/rear"],
    }


def test_each_camera_has_its_own_image_and_boxes(page):
    for name, (rgb, box) in CAMERAS.items():
        until(lambda name=name: page.status(name)["sees"], 20)
        page.ask({"text": "all", "mode": "ground"}, camera=name)
        told = until(lambda name=name: page.status(name)["boxes"], 20)
        assert [each["label"] for each in told] == [box.label]
        picture = cv2.imdecode(np.frombuffer(page.request("GET", f"{name}/image.jpg")[2], np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_allclose(picture[45, 2], rgb[::-1], atol=12)


def test_what_a_camera_tells_while_it_decodes_is_not_told_of_the_other(page):
    with ThreadPoolExecutor(1) as browser:
        reply = browser.submit(page.ask, {"text": "slow", "mode": "ground"}, camera="/rear")
        told = until(lambda: (now := page.status("/rear")["progress"]) and now["stage"] and now, 20)
        assert (told["stage"], [box["label"] for box in told["boxes"]]) == ("decode", ["green car"])
        assert page.status("/front")["progress"] is None
        page.groundings["/rear"].release()
        assert reply.result()[0] == 200


@pytest.mark.parametrize("path", ["/status", "/side/status", "/front/cameras", "/front/front/status", "/front"])
def test_a_camera_that_is_not_there_is_not_another(page, path):
    assert page.request("GET", path)[0] == 404


def test_a_question_to_no_camera_is_asked_of_none(page):
    before = {name: list(node.asked) for name, node in page.groundings.items()}
    assert [page.ask({"text": "x", "mode": "ground"}, camera=name)[0] for name in ("", "/side")] == [404, 404]
    assert {name: node.asked for name, node in page.groundings.items()} == before


def test_a_page_of_one_camera_in_a_namespace_shows_that(tmp_path):
    page = Page({"/robot": (write_plain_frame(tmp_path, (1, 2, 3)), BOX)})
    try:
        assert page.json("/cameras") == {"cameras": ["/robot"]}
        assert page.ask({"text": "red mug", "mode": "ground"}, camera="/robot")[0] == 200
    finally:
        page.close()


@pytest.mark.parametrize(
    ("cameras", "code", "words"),
    [("front,front", 2, "names a camera twice"), ("front,re ar", 1, "Invalid namespace")],
)
@pytest.mark.parametrize("node", ["grounding_node", "page_node"])
def test_cameras_that_cannot_be_are_refused_with_a_reason(node, cameras, code, words):
    command = [sys.executable, "-m", "n3d_ros", node, "--cameras", cameras, "--ros-args", "-p", "port:=0"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == code
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
