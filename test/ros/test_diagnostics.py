"""What the diagnostics say of the model and of queries."""

from types import SimpleNamespace

import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from n3d_ros.msg import Result

from n3d_ros.node.shipped import shipped
from n3d_ros.outputs.diagnostics import BackOff, DiagnosticsTopic, QueryLog, model_status, query_status
from test.ros.ready_node import Source, end, make_ready


def test_a_failed_activation_is_an_error_with_its_reason_though_the_model_is_loaded():
    backend = SimpleNamespace(name="torch", reason="a test")
    model = SimpleNamespace(name="n3d-tiny", backend=backend, memory_bytes=3_000_000)
    reason = "activate failed: /color/image_raw cannot be subscribed"

    def told(state, loaded, error):
        status = model_status("/grounding", state, loaded, error)
        return status.level, status.message, {pair.key: pair.value for pair in status.values}.get("memory_model_mb")

    assert told("inactive", model, reason) == (DiagnosticStatus.ERROR, reason, "3")
    assert told("active", model, "") == (DiagnosticStatus.OK, "n3d-tiny on torch", "3")
    assert told("unconfigured", None, "configure failed: x") == (DiagnosticStatus.ERROR, "configure failed: x", None)
    assert told("unconfigured", None, "") == (DiagnosticStatus.OK, "no model is loaded (unconfigured)", None)


def test_a_failure_of_the_model_is_a_warning_until_a_query_is_answered():
    log = QueryLog()

    def level():
        return query_status("/grounding", log.snapshot(), (0, 0)).level

    assert level() == DiagnosticStatus.OK
    log.failed(Result.MODEL_FAILURE, "out of memory")
    assert level() == DiagnosticStatus.WARN
    log.failed(Result.BUSY, "another query is running")  # says nothing of the model
    assert level() == DiagnosticStatus.WARN
    log.succeeded({"image": 2.0, "look": 40.0}, age_ms=12.0)
    assert level() == DiagnosticStatus.OK
    status = query_status("/grounding", log.snapshot(), (1, 2))
    assert status.message == "3 queries, 1 failed in the model"
    values = {pair.key: pair.value for pair in status.values}
    assert values["count MODEL_FAILURE"] == values["count BUSY"] == values["count OK"] == "1"
    assert (values["latency_ms p50"], values["image_age_ms p95"]) == ("42.0", "12.0")
    assert (values["running"], values["waiting"]) == ("1", "2")


def test_what_a_client_cancels_is_no_error():
    log = QueryLog()
    log.failed(Result.NO_IMAGE, "nothing on /color/image_raw")
    log.failed(Result.CANCELLED, "cancelled by the client")
    assert (log.last_error, log.statuses[Result.CANCELLED]) == ("nothing on /color/image_raw", 1)


def test_a_message_that_repeats_is_logged_less_and_less_often():
    repeats = BackOff()
    logged = [second for second in range(200) if repeats.due(f"no image for {second} s", float(second)) is not None]
    assert logged == [0, 10, 30, 70, 150]
    assert repeats.due("no image for 201 s", 310.0) == 49  # left out since then
    assert repeats.due("another message", 311.0) == 0
    assert repeats.due("no image for 5 s", 5000.0) == 0  # it had been away for long


def test_shares_of_changing_topics_are_one_message():
    repeats = BackOff()
    assert repeats.due("only 7 % of /color/image_raw, 4 % of /depth/image_raw is received: use the profile", 0.0) == 0
    assert repeats.due("only 11 % of /depth/image_raw is received: use the profile", 2.0) is None
    assert repeats.due("only 3 % of /a, 4 % of /b, 5 % of /c is received: use the profile", 4.0) is None
    assert repeats.due("/color/image_raw has been silent for 4 s", 4.0) == 0
    assert repeats.due("/depth/image_raw has been silent for 4 s", 4.0) == 0  # another topic is news


def test_problems_that_come_and_go_together_do_not_fill_the_log(client, capfd):
    silent, lossy = "/depth/image_raw has been silent for 4 s", "only 7 % of /color/image_raw is received"
    told = [lossy, silent, f"{silent}; {lossy}", lossy, f"{silent}; {lossy}", silent]
    problems = iter(told)
    node = client.node
    topic = DiagnosticsTopic(
        node, lambda: [DiagnosticStatus(level=DiagnosticStatus.WARN, message=next(problems))], node.get_clock()
    )
    for _ in told:
        topic._publish()
    assert capfd.readouterr().err.count("[WARN]") == 2


def test_a_silent_camera_does_not_fill_the_log(client, weightless, frame, capfd):
    source = Source(frame)
    source.there.clear()
    node = make_ready(client, weightless, source, continuous_query="mug", continuous_rate=20.0)
    try:
        client.until(lambda: node._desk.log.statuses[Result.NO_IMAGE] > 20, 30.0)
        assert capfd.readouterr().err.count("the camera stopped") == 1
    finally:
        end(node)


def test_the_shipped_configurations_name_what_there_is(client, weightless, frame):
    node = make_ready(client, weightless, Source(frame))
    try:
        names = [status.name for status in node._statuses()]
        analyzer = yaml.safe_load(shipped("config/diagnostics.yaml").read_text())["analyzers"]["ros__parameters"]["n3d"]
        assert all(any(part in name for part in analyzer["contains"]) for name in names)
        assert all(any(part in name for name in names) for part in analyzer["contains"])
        manager = yaml.safe_load(shipped("config/lifecycle_manager.yaml").read_text())["lifecycle_manager"]
        assert manager["ros__parameters"]["node_names"] == [node.get_name()]
    finally:
        end(node)
