"""The page over HTTP: what it shows, what it asks, and whom it refuses."""

import http.client
import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter

from n3d_core.errors import ConfigError
from n3d_ros.errors import TransformError
from n3d_ros.outputs.messages import detections_message, header_message
from n3d_ros.page.page_node import PageNode
from n3d_ros.page.scene import ViewerFile
from n3d_ros.page.server import MOST_BYTES, MOST_CONNECTIONS
from test.ros.served_page import BOX, OPTICAL, Page, write_plain_frame

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = Page({"": (write_plain_frame(tmp_path_factory.mktemp("frames"), (10, 200, 30)), BOX)})
    yield page
    page.close()


def test_the_page_is_text_that_reaches_nothing_but_its_own_server(page):
    status, headers, body = page.request("GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("default-src 'self'; frame-ancestors 'none'")
    assert (headers["X-Content-Type-Options"], headers["Cross-Origin-Resource-Policy"]) == ("nosniff", "same-origin")
    assert b"//" not in body.split(b"<body>")[1], "nothing is loaded from elsewhere"
    script = page.request("GET", "/page.js")[2]
    assert b"innerHTML" not in script


def test_a_text_goes_to_the_grounding_node_and_its_boxes_come_back(page):
    status, reply = page.ask({"text": "red mug", "mode": "ground"})
    assert status == 200
    assert page.grounding.asked[-1] == "red mug"
    (box,) = reply["boxes"]
    assert (reply["status"], box["label"], box["score"]) == ("OK", BOX.label, 0.75)
    assert (box["center"], box["size"]) == (list(BOX.center), pytest.approx(list(BOX.size)))


def test_a_question_comes_back_with_its_verdict(page):
    status, reply = page.ask({"text": "How far?", "mode": "ask"})
    assert (status, reply["answer"], reply["said"], reply["verdict"]) == (200, "0.50 m", "0.42 m", "contradicted")
    assert (reply["message"], reply["warnings"]) == ("", ["few pixels"])


def until(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"nothing came within {timeout_s} s"
        time.sleep(0.05)
    return found


def test_what_is_decoded_is_shown_before_the_answer_is_there(page):
    def progress():
        return json.loads(page.request("GET", "/status")[2])["progress"]

    assert progress() is None
    with ThreadPoolExecutor(1) as browser:
        reply = browser.submit(page.ask, {"text": "slow", "mode": "ground"})
        told = until(lambda: (now := progress()) and now["stage"] and now)
        assert (told["stage"], told["text"]) == ("decode", "red mug(")
        assert [box["label"] for box in told["boxes"]] == [BOX.label]
        page.grounding.release()
        assert reply.result()[1]["status"] == "OK"
    assert progress() is None


def test_a_query_that_takes_too_long_is_cancelled(page):
    page.node.set_parameters([Parameter("answer_timeout", value=1.0)])
    try:
        status, reply = page.ask({"text": "slow", "mode": "ground"})
        assert (status, reply["error"]) == (
            503,
            "/grounding/query did not answer within 1 s (parameter answer_timeout)",
        )
        until(lambda: page.grounding.cancelled == ["slow"])
        page.grounding.release()
    finally:
        page.node.set_parameters([Parameter("answer_timeout", value=120.0)])


def post(page, text):
    """A connection on which a question was sent."""
    body = json.dumps({"text": text, "mode": "ground"})
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    connection.request("POST", "/ask", body, {"Content-Type": "application/json"})
    return connection


def test_a_page_that_is_closed_or_reloaded_cancels_its_query(page):
    page.grounding.cancelled.clear()
    connection = post(page, "slow")
    until(lambda: page.status()["progress"])
    connection.close()
    until(lambda: page.status()["progress"] is None)
    until(lambda: page.grounding.cancelled == ["slow"])
    page.grounding.release()


def test_a_grounding_node_that_ends_while_it_is_asked_is_not_waited_for(page, monkeypatch):
    connection = post(page, "slow")
    until(lambda: page.status()["progress"])
    monkeypatch.setattr(page.node._query._client, "server_is_ready", lambda: False)
    reply = connection.getresponse()
    assert reply.status == 503
    assert json.loads(reply.read())["error"] == "the grounding node ended before /grounding/query answered"
    page.grounding.release()


def test_the_image_is_taken_while_the_page_is_open_and_shows_the_boxes(page):
    def status():
        return json.loads(page.request("GET", "/status")[2])

    for _ in range(100):
        if status()["sees"]:
            break
        threading.Event().wait(0.1)
    assert status()["camera"].startswith(f"64x48 in '{OPTICAL}'")
    page.ask({"text": "red mug", "mode": "ground"})
    for _ in range(50):
        if status()["boxes"]:
            break
        threading.Event().wait(0.1)
    (box,) = status()["boxes"]
    assert box["center"] == [0.0, 0.0, 1.0]
    code, headers, data = page.request("GET", "/image.jpg")
    assert (code, headers["Content-Type"]) == (200, "image/jpeg")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (48, 64, 3)
    np.testing.assert_allclose(picture[45, 2], (30, 200, 10), atol=12)  # the camera's green, B G R
    assert (np.abs(picture.astype(int) - (30, 200, 10)).max(axis=2) > 60).sum() > 30, "no box is drawn"


def test_the_page_says_which_model_answers_and_what_it_is_for(page):
    assert until(lambda: page.status()["model"]) == "N3D-VLM toy on paper: toy knows <b>mugs</b>"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:80"},  # a name that points at 127.0.0.1 (DNS rebinding)
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[:::"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another program of this machine
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},  # <img> in another site's page
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "iframe"},  # of another port of localhost
    ],
)
def test_what_another_site_sends_is_refused(page, headers):
    asked = list(page.grounding.asked)
    status, reply = page.ask({"text": "red mug", "mode": "ground"}, **headers)
    assert status == 403
    assert "error" in reply
    for path in ("/", "/status", "/image.jpg", "/scene.rrd", "/viewer/"):
        assert page.request("GET", path, headers=headers)[0] == 403
    assert page.grounding.asked == asked


def test_its_own_page_is_served_under_both_names_and_through_a_tunnel(page):
    for host in (f"127.0.0.1:{page.port}", "localhost:9000", "[::1]:9000"):
        assert page.request("GET", "/", headers={"Host": host, "Origin": f"http://{host}"})[0] == 200
    for site, wanted in (("cross-site", "document"), ("none", "document"), ("same-origin", "script")):  # a link to it
        fetched = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": wanted}
        assert page.request("GET", "/page.js", headers=fetched)[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"text": "x" * MOST_BYTES, "mode": "ground"}, {}, 413),
        (b'{"text": "a", "mode": "ground"}', {"Content-Type": "text/plain"}, 415),  # what a foreign form can send
        (b"[1]", {}, 400),
        (b"\xff", {}, 400),
        (b"[" * 4000, {}, 400),
        ({"text": 3, "mode": "ground"}, {}, 400),
        ({"text": "a", "mode": "rm"}, {}, 400),
        ({"text": "a"}, {}, 400),
        ({"text": "a", "mode": "ground"}, {"Content-Length": "-1"}, 411),
    ],
)
def test_a_request_that_is_no_question_is_refused_with_its_reason(page, body, headers, status):
    sent = {name.replace("-", "_"): text for name, text in headers.items()}
    seen, reply = page.ask(body, **sent)
    assert seen == status
    assert reply["error"]


def test_there_is_nothing_else_to_be_had(page):
    for path in ("/../n3d_ros/page/page_node.py", "/page.html", "/viewer/../page.js", "/etc/passwd"):
        assert page.request("GET", path)[0] in (404, 503)
    assert page.request("POST", "/status")[0] == 404
    assert page.request("DELETE", "/")[0] == 501


def raw(page, request):
    """What the server sends on a connection until it closes it."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


OWN = b" HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"OPTIONS /ask" + OWN + b"\r\n", b"501"),
        (b"GET http://[" + OWN + b"Connection: close\r\n\r\n", b"400"),
        (b"GET /\xff\xfe" + OWN + b"Connection: close\r\n\r\n", b"404"),
        (b"GET /" + b"a" * 70_000 + OWN + b"\r\n", b"414"),
        (b"GET /" + OWN + b"X: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + OWN + b"X: a\r\n" * 200 + b"\r\n", b"431"),
        (
            b"POST /ask" + OWN + b"Content-Type: application/json\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
            b"413",
        ),
        (b"POST /ask" + OWN + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"GET / HTTP/1.0\r\n\r\n", b"403"),  # HTTP/1.0 may leave the host out
    ],
)
def test_a_request_that_is_broken_or_huge_gets_a_reason_and_the_same_headers(page, request_, status):
    head, _, body = raw(page, request_).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert b"Content-Security-Policy: default-src 'self'" in head
    assert json.loads(body)["error"]


def test_what_is_not_even_http_gets_an_answer(page):
    assert b"Bad request" in raw(page, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")  # https://
    assert json.loads(raw(page, b"GET /cameras\r\n\r\n"))["error"]  # HTTP/0.9 has no headers


def test_head_tells_what_get_would_send(page):
    for path, length in (("/", None), ("/cameras", 17), ("/nothing", None)):
        status, headers, _ = page.request("GET", path)
        assert page.request("HEAD", path)[0] == status
        told = raw(page, b"HEAD " + path.encode() + OWN + b"Connection: close\r\n\r\n")
        assert told.endswith(b"\r\n\r\n")
        assert f"Content-Length: {length or headers['Content-Length']}".encode() in told


def test_the_body_of_a_request_is_never_taken_for_another_request(page):
    hidden = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for smuggling in (b"Content-Length: %d\r\n\r\n" % len(hidden), b"Transfer-Encoding: chunked\r\n\r\n"):
        assert raw(page, b"GET /cameras" + OWN + smuggling + hidden).count(b"HTTP/1.1 ") == 1


def test_connections_that_send_nothing_keep_nobody_out(page):
    idle = [socket.create_connection(("127.0.0.1", page.port), timeout=10) for _ in range(MOST_CONNECTIONS + 5)]
    try:
        for one in idle[::2]:
            one.sendall(b"GET /stat")  # slowly, if ever
        assert page.json("/cameras") == {"cameras": [""]}
    finally:
        for one in idle:
            one.close()


def test_fifty_viewers_are_served_at_once(page):
    with ThreadPoolExecutor(50) as browsers:
        replies = list(browsers.map(lambda _: page.request("GET", "/status")[0], range(200)))
    assert replies == [200] * 200


def test_the_viewer_is_sent_once_and_then_only_if_it_has_changed(page, monkeypatch):
    files = {"re_viewer_bg.wasm": ViewerFile(b"wasm", {"ETag": '"4c"', "Cache-Control": "no-cache"})}
    monkeypatch.setattr(page.node._server._viewer, "files", lambda: files)
    status, headers, body = page.request("GET", "/viewer/re_viewer_bg.wasm")
    assert (status, body, headers["Cache-Control"]) == (200, b"wasm", "no-cache")
    known = page.request("GET", "/viewer/re_viewer_bg.wasm", headers={"If-None-Match": headers["ETag"]})
    assert (known[0], known[2]) == (304, b"")
    other = page.request("GET", "/viewer/re_viewer_bg.wasm", headers={"If-None-Match": '"of another version"'})
    assert (other[0], other[2]) == (200, b"wasm")


def test_half_a_surrogate_pair_does_not_break_the_question(page):
    status, _ = page.ask(b'{"text": "mug \\ud800", "mode": "ground"}')
    assert (status, page.grounding.asked[-1]) == (200, "mug ?")


def test_the_scene_is_a_rerun_stream(page):
    pytest.importorskip("rerun")
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    connection.request("GET", "/scene.rrd")
    reply = connection.getresponse()
    assert reply.read(4)[:3] == b"RRF"
    connection.close()


def test_without_grounding_node_and_viewer_the_page_says_what_is_missing(page, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    overrides = [Parameter("port", value=0), Parameter("grounding", value="nobody")]
    bare = PageNode(context=page.context, parameter_overrides=overrides)
    bare.start()
    port = int(bare._server.url.rsplit(":", 1)[1].strip("/"))

    def error(method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        assert reply.status == 503
        return json.loads(reply.read())["error"]

    try:
        asked = error("POST", "/ask", json.dumps({"text": "mug", "mode": "ground"}))
        assert "action /nobody/query not found" in asked
        for _ in range(50):
            if "starting" not in (missing := error("GET", "/viewer/")):
                break
            threading.Event().wait(0.1)
        assert "pip install 'n3d-ros[rerun]'" in missing
        assert "Rerun SDK" in error("GET", "/scene.rrd")
        assert error("GET", "/image.jpg") == "no image yet"
    finally:
        bare.close()
        bare.destroy_node()


def test_a_port_that_is_taken_is_named_with_what_to_do(page):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} of 127.0.0.1 is taken.*parameter port.*ss -ltnp"):
            PageNode(context=page.context, parameter_overrides=[Parameter("port", value=port)])


def test_boxes_of_one_query_in_another_frame_are_shown_once_their_transform_is_known(page, monkeypatch):
    known, tried = threading.Event(), []

    class Late:
        """A transform that comes after the boxes; the executor is free meanwhile, so that it can."""

        def look_up(self, target, source, _stamp_ns, _timeout_s):
            tried.append((target, source, threading.current_thread().name))
            if not known.is_set():
                raise TransformError("not yet")
            return np.eye(3), np.array([0.0, 0.0, 0.5])

    monkeypatch.setattr(page.node, "_transforms", Late())
    until(lambda: page.status()["sees"])
    page.grounding.detections.publish(detections_message([BOX], header_message(7, "map")))
    until(lambda: tried)
    assert tried[0][:2] == (OPTICAL, "map")
    assert tried[0][2] == "page-look"
    known.set()
    until(lambda: [box.center for box in page.node._seen] == [(0.0, 0.0, 1.5)])
    assert page.status()["boxes"][0]["center"] == [0.0, 0.0, 1.0]  # the table is in the frame of the detections
