"""A browser opens the page, asks, and shows the answer: camera, grounding node and page as processes.

The choice between two cameras is tried with nodes of this process.
"""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from lifecycle_msgs.srv import GetState

from n3d_core.geometry.frame_folder import FrameFolder
from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.node.shipped import demo_frames
from n3d_ros.outputs.messages import VERDICTS
from test.ros.chromium import Chromium, find_chromium, until
from test.ros.served_page import BOX, Page, write_plain_frame

pytestmark = [pytest.mark.ros, pytest.mark.slow]
pytest.importorskip("rerun", reason="the page's 3D view needs rerun-sdk (make test installs it)")
pytest.importorskip("websockets", reason="Chromium is driven over a WebSocket")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_browser_shows_the_scene_asks_and_shows_the_boxes(client, model, tmp_path):
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium (apt install chromium)")
    port, question = free_port(), FrameFolder(demo_frames()).truth(0).questions[0]["text"]
    pictures = Path(os.environ.get("N3D_SCREENSHOTS", tmp_path))
    # The browser draws on the CPU that the model needs: little is shown, and old images will do.
    grounding = NodeProcess("n3d_ros.grounding_node", {"model": model, "backend": "torch", "max_image_age": 0.0})
    camera = NodeProcess("n3d_ros.playback.camera_node", {"frame": 0, "rate": 2.0})
    page = NodeProcess("n3d_ros.page.page_node", {"port": port, "rate": 0.2})
    with grounding, camera, page:
        client.until(lambda: is_active(client), 300)
        with Chromium(program, f"http://127.0.0.1:{port}/", tmp_path / "profile") as browser:
            until(lambda: browser.text("#camera").startswith("640x480"), 120)
            assert browser.evaluate("document.getElementById('cameras').hidden") is True
            browser.evaluate(f"document.getElementById('text').value = {json.dumps(question)}")
            browser.evaluate("document.querySelector('button[value=ask]').click()")
            until(lambda: browser.text("#state") and not browser.text("#state").endswith("…"), 300)
            assert browser.text("#state").startswith("OK"), browser.text("#state")
            assert "not meant for real images" in browser.text("#model")
            assert browser.text("#answer-text")
            assert browser.text("#verdict").replace(" ", "_") in VERDICTS
            until(lambda: browser.evaluate("!document.getElementById('viewer').hidden"), 180)
            until(lambda: scene_is_drawn(browser, pictures / "page.png"), 300)
            assert not [error for error in browser.errors if "page.js" in error]  # the viewer's log is its makers'
        for node in (page, camera, grounding):
            assert node.interrupt() == 0


def test_a_browser_shows_and_asks_the_camera_that_is_chosen(tmp_path):
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium (apt install chromium)")
    front, rear = (write_plain_frame(tmp_path / name, (9, 9, 9)) for name in ("front", "rear"))
    page = Page({"/front": (front, BOX), "/rear": (rear, replace(BOX, label="green car"))})
    try:
        with Chromium(program, f"http://127.0.0.1:{page.port}/", tmp_path / "profile") as browser:
            choice = "document.getElementById('cameras')"
            assert until(lambda: browser.evaluate(f"[...{choice}.options].map((o) => o.text)"), 120) == list(page.nodes)
            assert browser.evaluate(f"{choice}.hidden") is False
            for name, label in (("/front", "red <b>mug</b>"), ("/rear", "green car")):
                browser.evaluate(f"{choice}.value = '{name}'; {choice}.dispatchEvent(new Event('change'))")
                assert (browser.text("#state"), browser.text("#boxes")) == ("", "")
                browser.evaluate("document.querySelector('button[value=ground]').focus()")
                browser.evaluate("document.activeElement.click()")
                until(lambda: browser.text("#state").startswith("OK"), 120)
                assert browser.evaluate("document.activeElement.value") == "ground"  # the keyboard stays where it was
                assert browser.text("#boxes").split("\t")[0] == label
            until(lambda: browser.evaluate("!document.getElementById('viewer').hidden"), 180)
            shown = browser.evaluate("document.getElementById('viewer').src")
            assert shown.endswith(quote("/rear/scene.rrd", safe=""))
    finally:
        page.close()


def is_active(client) -> bool:
    return client.call(GetState, "/grounding/get_state", 300.0).current_state.label == "active"


def scene_is_drawn(browser: Chromium, path: Path) -> bool:
    """Whether the viewer's half of the window shows the camera's many colours by now."""
    browser.screenshot(path)
    top = cv2.imread(str(path))[60:400]
    return len(np.unique(top.reshape(-1, 3) // 8, axis=0)) > 500
