"""How many tokens each kind of question takes, and which kinds a row of `data.tokens` has no room for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from training.data.sequences import Question
from training.data.stream import SceneSamples

IMAGES = 200  # drawn to measure lengths
_MOST_LEFT_OUT = 0.1  # share of a kind that may be left out without a warning
_ROW_STEP = 64  # recommended rows are a multiple of this
_MOST_NAMED = 12  # kinds in a warning


@dataclass
class KindLengths:
    """The questions of one kind.

    Attributes:
        tokens: length of each, with its reply.
        rows: length of a row that holds nothing but its image and one question.
        too_long: how many are longer than the row even alone.
        left_out: how many found no room, those that are too long among them.
    """

    tokens: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    too_long: int = 0
    left_out: int = 0

    @property
    def drawn(self) -> int:
        return len(self.tokens)

    @property
    def median(self) -> int:
        return int(np.median(self.tokens))

    @property
    def long(self) -> int:
        """Tokens that 95 % of the kind do not exceed."""
        return int(np.percentile(self.tokens, 95))


@dataclass
class QuestionLengths:
    """The lengths of the questions about a number of images.

    Attributes:
        row: `data.tokens`.
        image: tokens of the system prompt and the image, of the largest image.
        images: number of images.
        kinds: by name: a kind of the mixture, for spatial questions followed by "about" and the type.
    """

    row: int
    image: int = 0
    images: int = 0
    kinds: dict[str, KindLengths] = field(default_factory=dict)

    def add(self, image: int, questions: list[Question], lengths: list[int], fitting: set[int]) -> None:
        """Counts the questions of one image, in the order in which they are packed.

        Args:
            image: tokens of the system prompt and the image.
            lengths: tokens of each question.
            fitting: indices of the questions that found room.
        """
        self.image, self.images = max(self.image, image), self.images + 1
        for number, (question, length) in enumerate(zip(questions, lengths, strict=True)):
            kind = self.kinds.setdefault(question.kind, KindLengths())
            kind.tokens.append(length)
            kind.rows.append(image + length)
            kind.too_long += image + length > self.row
            kind.left_out += number not in fitting

    @property
    def drawn(self) -> int:
        return sum(kind.drawn for kind in self.kinds.values())

    @property
    def left_out(self) -> int:
        return sum(kind.left_out for kind in self.kinds.values())

    def summary(self) -> str:
        """One line: how many questions of an image a row holds, and what share of each pass or kind finds no room."""
        images = max(self.images, 1)
        groups: dict[str, tuple[int, int]] = {}
        for name, kind in self.kinds.items():
            left_out, drawn = groups.get(name.partition(" ")[0], (0, 0))
            groups[name.partition(" ")[0]] = left_out + kind.left_out, drawn + kind.drawn
        shares = sorted(((out / drawn, name) for name, (out, drawn) in groups.items() if out), reverse=True)
        listed = ", ".join(f"{name} {share:.0%}" for share, name in shares) or "none"
        return (
            f"rows of {self.row} tokens hold {(self.drawn - self.left_out) / images:.1f} of {self.drawn / images:.1f} "
            f"questions drawn for an image, whose own tokens are up to {self.image}; left out: {listed}"
        )

    def warnings(self) -> list[str]:
        """One line each for kinds that do not fit even alone, and for kinds that are left out more than the rest."""
        lines = []
        too_long = {n: k for n, k in self.kinds.items() if k.too_long > _MOST_LEFT_OUT * k.drawn}
        if too_long:
            named = _listed({f"{n} (median {k.median} tokens)": k.too_long / k.drawn for n, k in too_long.items()})
            share = 100 * (1 - _MOST_LEFT_OUT)
            needed = max(float(np.percentile(k.rows, share, method="higher")) for k in too_long.values())
            lines.append(
                f"data.tokens: {self.row} leaves no room for {named}; "
                f"rows of {_rounded(needed)} hold {share:.0f}% of each"
            )
        usual = self.left_out / max(self.drawn, 1)
        crowded = {
            name: kind.left_out / kind.drawn
            for name, kind in self.kinds.items()
            if name not in too_long and kind.drawn >= 10 and kind.left_out / kind.drawn > usual + _MOST_LEFT_OUT
        }
        if crowded:
            lines.append(
                f"data.tokens: {self.row} is often full too early for {_listed(crowded)} and {usual:.0%} of all "
                "questions: longer rows or fewer data.questions keep the mixture's weights"
            )
        return lines

    def table(self) -> str:
        """A line for each kind, the longest first."""
        rows = [f"{'tokens: median':>14} {'95 %':>6} {'drawn':>6} {'too long':>9} {'left out':>9}  kind"]
        for name, kind in sorted(self.kinds.items(), key=lambda item: -item[1].median):
            shares = f"{kind.too_long / kind.drawn:>9.0%} {kind.left_out / kind.drawn:>9.0%}"
            rows.append(f"{kind.median:>14} {kind.long:>6} {kind.drawn:>6} {shares}  {name}")
        return "\n".join(rows)


def measure(samples: SceneSamples, images: int = IMAGES) -> QuestionLengths:
    """Draws the questions of the first samples, at most of as many as there are images, and packs them by length."""
    lengths = QuestionLengths(samples.config.data.tokens)
    for number in range(min(images, samples.size)):
        image, questions = samples.drawn(number)
        taken, found = samples.maker.lengths(image, questions)
        lengths.add(taken, questions, found, set(samples.maker.fitting(taken, found)))
    return lengths


def _listed(shares: dict[str, float]) -> str:
    """`100 % of reason about depth_order (median 530 tokens)`, the largest shares first."""
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    more = f" and {len(ranked) - _MOST_NAMED} more kinds" if len(ranked) > _MOST_NAMED else ""
    return ", ".join(f"{share:.0%} of {name}" for name, share in ranked[:_MOST_NAMED]) + more


def _rounded(tokens: float) -> int:
    return -int(-tokens // _ROW_STEP) * _ROW_STEP
