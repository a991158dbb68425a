"""Rewording and judging through a real endpoint of this test, and what is thrown away."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from n3d_core.errors import BackendError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame_folder import TrueObject
from training.evaluation.answer_metrics import Answered
from training.evaluation.judge import judge_report, model_says_right
from training.questions import SceneObjects, spatial_samples
from training.questions.__main__ import main
from training.questions.language_model import Endpoint
from training.questions.rephrase import problem_with, rephrase

FRAMES = Path(__file__).resolve().parents[2] / "demo" / "frames"
OBJECTS = [
    TrueObject(Box3D("red mug", (-0.3, 0.0, 1.0), (0.1, 0.1, 0.1)), "mug", "red", 1.0),
    TrueObject(Box3D("blue can", (0.3, 0.2, 1.6), (0.2, 0.3, 0.2)), "can", "blue", 1.0),
]


def sample(kind: str, text: str):
    found = spatial_samples(SceneObjects.of(OBJECTS), 200, 0, {kind: 1.0})
    return replace(next(s for s in found if s.text == text), text=text)


@pytest.fixture(autouse=True)
def _proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine behind a proxy, which must not be asked for what is on loopback."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def distance():
    return sample("distance", "How far is the red mug from the blue can in cm?")


@contextmanager
def endpoint(answer: Callable[[str], str], status: int = 200) -> Iterator[tuple[Endpoint, list[dict]]]:
    """A server on loopback that speaks the chat protocol; `answer` maps the user's message to the reply."""
    requests: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append({"path": self.path, "body": body, "key": self.headers.get("Authorization")})
            data = json.dumps({"choices": [{"message": {"content": answer(body["messages"][1]["content"])}}]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Endpoint("some-model", f"http://127.0.0.1:{server.server_port}/v1", timeout=5), requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_safe_rewording_is_taken_and_nothing_but_the_question_changes(distance):
    new = "What is the distance between the red mug and the blue can in cm?"
    with endpoint(lambda _: f'  "{new}"\n') as (model, requests):
        (reworded,), outcome = rephrase([distance], model)
    assert reworded == replace(distance, text=new)
    assert outcome == {"reworded": 1}
    assert requests[0]["path"] == "/v1/chat/completions"
    assert requests[0]["body"]["messages"][1]["content"] == distance.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("What is the distance between the red mug and the blue can in cm?", ""),
        ("What is the distance between the red mug and the blue can?", "meaning"),
        ("What is the distance between the red cup and the blue can in cm?", "names"),
        ("What is the distance between the red mug and the 2 blue can in cm?", "numbers"),
        ("How far is the red mug from the blue can? Answer in cm.", "sentences"),
        ("How far is the red mug from the blue can vertically in cm?", "meaning"),
        ("Sure! How far is the red mug from the blue can in cm?", "sentences"),
        ("Is the red mug far from the blue can in cm?", "meaning"),
        ("", "sentences"),
    ],
)
def test_what_is_lost_in_a_rewording_is_noticed(distance, text, problem):
    assert problem_with(distance, text) == problem


def test_swapped_roles_change_the_meaning_of_a_direction():
    asked = sample("direction", "If you are at the red mug, where will you find the blue can?")
    assert problem_with(asked, "Standing at the red mug, where is the blue can?") == ""
    assert problem_with(asked, "Standing at the blue can, where is the red mug?") == "meaning"


def test_an_unsafe_rewording_keeps_the_question(distance):
    with endpoint(lambda _: "How far is the mug?") as (model, _):
        kept, outcome = rephrase([distance, distance], model)
    assert kept == [distance, distance]
    assert outcome == {"names": 2}


def test_an_endpoint_that_is_not_there_is_named():
    with pytest.raises(BackendError, match=r"http://127\.0\.0\.1:9/v1/chat/completions"):
        Endpoint("m", "http://127.0.0.1:9/v1", timeout=2).reply("a", "b")


def test_an_address_that_is_none_is_refused():
    with pytest.raises(BackendError, match="no http"):
        Endpoint("m", "file:///etc").reply("a", "b")


def test_a_server_that_refuses_is_quoted():
    with endpoint(lambda _: "no", status=503) as (model, _), pytest.raises(BackendError, match="503"):
        model.reply("a", "b")


def test_the_key_comes_from_the_named_variable_only(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "s3cret")
    with endpoint(lambda _: "hello") as (model, requests):
        assert model.reply("a", "b") == "hello"
        replace(model, key_variable="SOME_KEY").reply("a", "b")
    assert [r["key"] for r in requests] == [None, "Bearer s3cret"]


def test_agreement_of_both_judges_is_counted(distance):
    objects = [{"label": o.box.label} for o in OBJECTS]
    answers = ["86 cm", "0.86 meters", "5 cm", "far away", "about a metre"]
    answered = [Answered(distance.to_json() | {"said": a}, objects) for a in answers]
    with endpoint(lambda text: "wrong" if text.endswith((": 5 cm", "far away")) else "It is right.") as (model, _):
        assert model_says_right(model, distance.to_json(), "86 cm") is True
        report = judge_report(answered, model)
    assert report == {
        "both_right": 2, "both_wrong": 2, "rule_only": 0, "model_only": 1, "unread": 0, "agreement": 0.8,
    }  # fmt: skip
    with endpoint(lambda _: "maybe") as (model, _):
        report = judge_report(answered[:1], model)
    assert (report["unread"], report["agreement"]) == (1, None)


def test_the_command_rewords_the_questions_of_a_folder(tmp_path, capsys):
    folder = shutil.copytree(FRAMES, tmp_path / "frames")
    with endpoint(lambda text: f"Tell me, {text[0].lower()}{text[1:]}") as (model, requests):
        said = ["--rephrase", "some-model", "--endpoint", model.url]
        assert main([str(folder), "--seed", "3", "--questions", "3", *said]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["questions"] == len(requests)
    asked = [q["text"] for p in folder.glob("*.truth.json") for q in json.loads(p.read_text())["questions"]]
    assert sum(text.startswith("Tell me, ") for text in asked) == counts["reworded"] > 0
    assert main([str(folder), *said]) == 1
    assert "gives no chat completion" in capsys.readouterr().err
