"""`python -m bench.gpu` on whatever is there: what runs is measured, what cannot says why, nothing stops the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from bench import gpu
from n3d_core.models import shelves

pytestmark = pytest.mark.skipif(
    not any((shelf / "n3d-tiny" / "config.json").exists() for shelf in shelves()), reason="models/n3d-tiny is not here"
)


def test_a_part_that_fails_in_any_way_says_why_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(error: Exception) -> Any:
        def part(device: str) -> dict[str, Any]:
            raise error

        return part

    parts = {
        "parity": lambda device: {"passed": True, "errors": {"x": {"left_out": "no room"}}},
        "decode": fails(RuntimeError("CUDA error: unspecified launch failure")),
        "prefill": fails(torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB\nmore")),
        "training": fails(gpu.LeftOutError("no card")),
    }
    monkeypatch.setattr(gpu, "PARTS", parts)
    monkeypatch.setattr(gpu, "_in_a_process", lambda name, seconds: gpu.run_part(name))
    assert gpu.main(["--json", "--parts", ",".join(parts)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["left_out"] == {
        "parity.errors.x": "no room",
        "decode": "RuntimeError: CUDA error: unspecified launch failure",
        "prefill": "out of GPU memory (CUDA out of memory. Tried 2 GiB)",
        "training": "no card",
    }
    assert figures["passed"] is True


@pytest.mark.parametrize("parity", [{"passed": False}, {"left_out": "it crashed"}])
def test_a_comparison_that_fails_or_does_not_end_is_not_passed(
    monkeypatch: pytest.MonkeyPatch, parity: dict[str, Any]
) -> None:
    monkeypatch.setattr(gpu, "_in_a_process", lambda name, seconds: parity if name == "parity" else {})
    assert gpu.main(["--json", "--parts", "decode,parity"]) == 1
    assert gpu.main(["--json", "--parts", "decode"]) == 0


def test_a_process_that_dies_or_takes_too_long_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.sys, "executable", "/bin/false")
    assert gpu._in_a_process("decode", 20) == {"left_out": "its process ended with exit code 1: no reason given"}
    monkeypatch.undo()
    assert gpu._in_a_process("training", 0.2)["left_out"].startswith("it was stopped after 0 s")
    assert gpu.measure(["decode"], minutes=0)["decode"] == {"left_out": "no time was left"}


@pytest.mark.slow
def test_the_whole_trial_runs_here(capsys: pytest.CaptureFixture[str]) -> None:
    """On a CPU something small is really measured, and what needs a card is named."""
    assert gpu.main(["--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["parity"]["passed"] is True
    assert figures["prefill"]["prefill_ms"] > 0
    assert figures["training"]["loss_falls"] is True
    if not torch.cuda.is_available():
        assert {"decode.3b", "decode.7b", "tensorrt"} <= figures["left_out"].keys()
        assert figures["decode"]["n3d-tiny"]["plain"]["step_ms"] > 0
