"""The tables of `n3d bench`, and its line of JSON."""

from __future__ import annotations

from typing import Any

from n3d_core.cli.tables import json_line, table

_STAGES = {"read": "read the frame's files", "parse": "read boxes from text", "per_token": "a single step"}


def print_report(figures: dict[str, Any], tables: bool = True) -> None:
    """Prints the figures of `suite.measure` to stdout."""
    if tables:
        for title, rows in _sections(figures):
            print(f"\n{title}")
            print(table(("", "value"), rows))
        print()
        print(_decode_table(figures))
        print()
    print(json_line(figures))


def _sections(f: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    machine = f["machine"]
    stages = [(_STAGES.get(name, name), _ms(ms)) for name, ms in f["stages_ms"].items()]
    saved = [
        ("runs of the vision tower", f"{f['vision_runs']} ({f['saved']['vision_runs']} saved)"),
        (
            "tokens of the prefix computed again",
            f"{f['prefix_tokens_recomputed']} ({f['saved']['prefix_tokens']} saved)",
        ),
        ("passes saved by forced tokens", str(f["saved"]["jump_forward"])),
        ("passes saved by drafts", str(f["saved"]["drafts"])),
        ("passes saved in grounding", f"{f['grounding_steps_saved']:.0%}"),
    ]
    totals = [
        ("runs of which these are medians", str(f["runs"])),
        ("first box after", _ms(f["first_box_ms"])),
        ("a question, both passes", _ms(f["question_ms"])),
        ("a second question on the frame", _ms(f["second_question_ms"])),
    ]
    if f.get("onnx_over_torch") is not None:
        totals.append(("ONNX Runtime against torch", f"{f['onnx_over_torch']} x"))
    if "question_speedup" in f:
        totals += [
            ("a question as the reference does it", _ms(f["reference_question_ms"])),
            ("speed-up of a question", f"{f['question_speedup']} x"),
            ("speed-up of the second", f"{f['second_question_speedup']} x"),
            ("answers equal", ", ".join("yes" if e else "no" for e in f["answers_equal"])),
        ]
    memory = [
        ("memory read", f"{machine['read_gb_s']} GB/s"),
        ("memory copied", f"{machine['copy_gb_s']} GB/s"),
        ("threads", str(machine["threads"])),
        ("peak memory of the process", f"{f['peak_memory_bytes'] / 1e9:.2f} GB"),
    ]
    return [
        (f"{f['model']} on {f['backend']} ({f['backend_reason']})", totals),
        ("Stages of the first question", stages),
        ("Work of both questions", saved),
        ("Machine", memory),
    ]


def _decode_table(f: dict[str, Any]) -> str:
    rows = [
        (s["backend"], _ms(s["step_ms"]), f"{s['bytes_per_step'] / 1e6:.1f} MB", f"{s['ceiling_share']:.0%}")
        for s in f["decode"]
    ]
    return table(("single steps", "a step", "reads", "of the ceiling"), rows)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
