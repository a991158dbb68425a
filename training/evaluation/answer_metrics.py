"""Answer metrics from records: the model's own answers, and baselines.

`qa` is the model's answer; `qa_audited` is corrected where the audit contradicts it; `qa_own_boxes` is geometry on the
model's boxes, `qa_geometry` on the true ones; `qa_direct` is the model's answer without grounding; `qa_median` is
always the most frequent or the median answer of a question's type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.facts import named
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import Question
from n3d_core.reasoning.solve import solve
from training.evaluation.answers import clock_error, is_numerical, is_right, true_number
from training.evaluation.interview import box_of


@dataclass(frozen=True)
class Answered:
    """A question of a truth file with its answer, and the frame's objects."""

    entry: dict[str, Any]
    objects: list[dict[str, Any]]

    @property
    def labels(self) -> list[str]:
        """Labels of the frame's objects."""
        return [o["label"] for o in self.objects]

    def right(self, said: str, tolerance: float = 0.25) -> bool:
        """Whether `said` is a right answer."""
        return is_right(self.entry, self.labels, said, tolerance)


Source = Callable[[Answered], str]


def answers_of(records: Iterable[dict[str, Any]]) -> list[Answered]:
    """All questions of a run."""
    return [Answered(entry, record["objects"]) for record in records for entry in record["questions"]]


def answer_reports(answered: Sequence[Answered]) -> dict[str, Any]:
    """The `qa*` parts of the report."""
    sources: dict[str, Source] = {
        "qa": lambda a: str(a.entry.get("said", "")),
        "qa_audited": _audited,
        "qa_own_boxes": lambda a: _geometry(a, [box_of(b) for b in a.entry.get("found", [])]),
        "qa_geometry": lambda a: _geometry(a, [box_of(o) for o in a.objects]),
        "qa_direct": lambda a: str(a.entry.get("direct", "")),
    }
    reports: dict[str, Any] = {name: _report(answered, source) for name, source in sources.items()}
    reports["qa_median"] = _median_report(answered)
    reports["audit"] = {"verdicts": dict(Counter(a.entry.get("verdict", "none") for a in answered))}
    return reports


def _audited(a: Answered) -> str:
    corrected = a.entry.get("corrected", "")
    return str(corrected if a.entry.get("verdict") == "contradicted" and corrected else a.entry.get("said", ""))


def _geometry(a: Answered, boxes: list[Box3D]) -> str:
    question = read_question(a.entry["text"], [box.label for box in boxes])
    try:
        return solve(question, boxes).text if isinstance(question, Question) else ""
    except QueryError:
        return ""


def _report(answered: Sequence[Answered], source: Source) -> dict[str, Any]:
    said = [(a, source(a)) for a in answered]
    right = [(a, a.right(s)) for a, s in said]
    report: dict[str, Any] = _groups(right)
    report["numerical_10"] = _share([a.right(s, 0.10) for a, s in said if is_numerical(a.entry)])
    hours = [clock_error(a.entry, s) for a, s in said if a.entry["type"] == "direction"]
    report["direction_within_1h"] = _share([h is not None and h <= 1 for h in hours])
    report["by_type"] = {
        kind: {"accuracy": _share([ok for a, ok in right if a.entry["type"] == kind]), "questions": n}
        for kind, n in sorted(Counter(a.entry["type"] for a in answered).items())
    }
    return report


def _groups(right: Sequence[tuple[Answered, bool]]) -> dict[str, Any]:
    open_ended = [ok for a, ok in right if not is_numerical(a.entry)]
    numerical = [ok for a, ok in right if is_numerical(a.entry)]
    counts = {"open_questions": len(open_ended), "numerical_questions": len(numerical)}
    return {"open": _share(open_ended), "numerical": _share(numerical)} | counts


def _median_report(answered: Sequence[Answered]) -> dict[str, Any]:
    """Scores of a constant answer for each type and form: the median length, or the most frequent other answer."""
    kinds: dict[tuple[str, Any, bool], list[Answered]] = {}
    for a in answered:  # the form is optional
        kinds.setdefault((a.entry["type"], a.entry.get("form"), isinstance(a.entry["answer"], bool)), []).append(a)
    return _groups([(a, ok) for group in kinds.values() for a, ok in zip(group, _constant(group), strict=True)])


def _constant(group: list[Answered]) -> list[bool]:
    """Whether the constant answer is right for each question of one type and form."""
    truths = [a.entry["answer"] for a in group]
    if isinstance(truths[0], str | list):
        places = [_place(a) for a in group]
        common = Counter(map(str, places)).most_common(1)[0][0]
        return [str(p) == common for p in places]
    if group[0].entry["type"] in ("direction", "count") or isinstance(truths[0], bool):
        common = Counter(truths).most_common(1)[0][0]
        return [t == common for t in truths]
    middle = median(true_number(a.entry) for a in group)
    return [abs(middle - true_number(a.entry)) <= 0.25 * true_number(a.entry) for a in group]


def _place(a: Answered) -> Any:
    """A choice or order as indices into the objects named in the question; a relation unchanged."""
    names = a.entry.get("names") or [a.labels[i] for i in a.entry["objects"]]
    true = a.entry["answer"]
    listed = true if isinstance(true, list) else [true]
    return [(named(str(n), names) or [n])[0] for n in listed]


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
