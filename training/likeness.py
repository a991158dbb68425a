"""Trains the small network that knows questions by their wordings (`n3d_core.reasoning.likeness`).

`python -m training.likeness` writes `n3d_core/reasoning/likeness.safetensors` from `training/questions/voices/*.txt`;
`--check` trains on all files but one, for each in turn, and prints how that one's questions are read. Each file is by
people of other voices, so this says how strangers' questions fare. A minute on one core for each network.

A file lists plain questions ("= How far is {a} from {b}?") and their wordings below. `{a}`, `{b}`, `{c}` stand for
objects with their articles, `{k}` and `{k2}` for nouns, `{l}` for a length, `{n}` for a count, `{col}` for a colour.
Below "= REFUSE" stands what boxes cannot answer.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from n3d_core.atomic_write import write_bytes
from n3d_core.reasoning.likeness import (
    LEAST_PROBABILITY,
    REFUSED,
    SLOT,
    Network,
    features_of,
    filled,
    fitting,
    slots_of,
    tokens_of,
)
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, NotUnderstood, Phrase, Question
from n3d_core.reasoning.relations import PREDICATES

FOLDER = Path(__file__).parent / "questions" / "voices"
NETWORK = Path(__file__).parents[1] / "n3d_core" / "reasoning" / "likeness.safetensors"
MEMBERS, WIDTH = 3, 32
LEAST_SEEN = 4
"""How many wordings must have a word, pair or triple for it to count."""
_BATCH = 128
_UNLIKELY = -1e4
Wordings = dict[str, list[str]]
Example = tuple[tuple[str, ...], str]

_MIRRORED = (
    {"left": "right", "leftmost": "rightmost", "lefthand": "righthand", "left-hand": "right-hand"},
    {"closest": "farthest", "nearest": "furthest"},
    {"taller": "shorter", "tallest": "shortest"},
    {"bigger": "smaller", "biggest": "smallest"},
    {"larger": "smaller", "largest": "smallest"},
    {"in front of": "behind"},
    {"above": "below", "over": "under", "higher": "lower"},
)
"""Words that turn the wording of one plain question into that of another."""
_SIZES = (
    ("taller", "wider", "longer"),
    ("tallest", "widest", "longest"),
    ("tall", "wide", "long"),
    ("height", "width", "length"),
)
_FILLED = {
    "o1": "the mug", "o2": "the box", "o3": "the lamp",
    "k": "chairs", "k2": "stools", "l": "80 cm", "n": "three", "col": "yellow",
}  # fmt: skip
"""What plain questions are filled with to be read."""


def read_wordings(path: Path) -> Wordings:
    """Reads a file of plain questions and their wordings.

    Raises:
        ValueError: if a wording has other slots than its plain question.
    """
    found: Wordings = {}
    plain = ""
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        if line.startswith("= "):
            plain = line[2:]
            found.setdefault(plain, [])
            continue
        if plain != REFUSED and set(SLOT.findall(line)) != set(SLOT.findall(plain)):
            raise ValueError(f"{path.name}: {line!r} stands below {plain!r} and has other slots")
        found[plain].append(line)
    return found


def joined(several: Sequence[Wordings]) -> Wordings:
    """All wordings of each plain question."""
    found: Wordings = {}
    for wordings in several:
        for plain, lines in wordings.items():
            found.setdefault(plain, []).extend(lines)
    return found


def mirrored(wordings: Wordings) -> Wordings:
    """With the wordings that follow from others: "left" for "right", "wider" for "taller"."""
    found = {plain: list(lines) for plain, lines in wordings.items()}
    tables = [table | {b: a for a, b in table.items()} for table in _MIRRORED]
    tables += [{row[i]: row[j] for row in _SIZES} for i in range(3) for j in range(3) if i != j]
    for table in tables:
        for plain, lines in wordings.items():
            other = (
                _replaced(plain, table).replace("farthest to", "farthest from").replace("closest from", "closest to")
            )
            if plain != REFUSED and other != plain and other in wordings:
                found[other] += [new for line in lines if (new := _replaced(line, table)) != line]
    return found


def _replaced(text: str, table: Mapping[str, str]) -> str:
    words = "|".join(map(re.escape, sorted(table, key=len, reverse=True)))
    return re.sub(rf"(?<![\w-])(?:{words})(?![\w-])", lambda m: table[m[0].lower()], text, flags=re.IGNORECASE)


def examples(wordings: Wordings) -> list[Example]:
    """Tokens and class of each wording, once."""
    found: dict[Example, None] = {}
    for plain, lines in wordings.items():
        for line in lines if plain == REFUSED else [plain, *lines]:
            found[_example(line, plain)] = None
    return one_of_equals(list(found))


def _example(line: str, plain: str) -> Example:
    """Numbers objects and kinds in the order in which the wording names them."""
    named = list(dict.fromkeys(SLOT.findall(line)))
    numbers = {slot: f"o{i + 1}" for i, slot in enumerate(slot for slot in named if slot in ("a", "b", "c"))}
    numbers |= dict(zip((slot for slot in named if slot in ("k", "k2")), ("k", "k2"), strict=False))

    def numbered(text: str) -> str:
        return SLOT.sub(lambda slot: f"{{{numbers.get(slot[1], slot[1])}}}", text)

    pieces = re.split(r"(\{\w+\})", numbered(line))
    tokens = [token for piece in pieces for token in ([piece] if SLOT.fullmatch(piece) else tokens_of(piece))]
    return tuple(tokens), numbered(plain)


@cache
def _meaning(plain: str) -> Question | str:
    """What a plain question asks, the same for all that mean the same.

    Raises:
        ValueError: if the grammar does not read it.
    """
    if plain == REFUSED:
        return plain
    question = read_question(filled(plain, _FILLED, ""))
    if isinstance(question, NotUnderstood):
        raise ValueError(f"the grammar does not read {plain!r}: {question.reason}")
    objects, predicate, kept = list(map(_in_order, question.objects)), question.predicate, len(question.objects)
    converse = PREDICATES[predicate].converse if predicate in PREDICATES else {"less": "more"}.get(predicate, predicate)
    turned = (
        converse < predicate if question.type in COMPARISONS else question.type == "outnumber" and predicate == "less"
    )
    if turned and question.form in ("yes_no", "difference"):
        objects, predicate = objects[::-1], converse
    if question.type in (*DISTANCES, *SIZES, "same", "extreme", "order", "depth_order") or predicate in ("any", "each"):
        kept = 0
    elif predicate in ("between", "next_to") or question.form == "choice":
        kept = int(
            question.type in ("fit", "relative_distance") or (question.type == "place" and predicate == "between")
        )
    objects[kept:] = sorted(objects[kept:], key=str)
    among = _in_order(question.among) if question.among else None
    return replace(question, objects=tuple(objects), predicate=predicate, among=among)


def _in_order(phrase: Phrase) -> Phrase:
    """A phrase with its clauses, and what is between two objects, in one order."""
    clauses = [
        replace(w, references=tuple(sorted(w.references, key=str))) if w.relation in ("between", "among") else w
        for w in phrase.where
    ]
    return replace(phrase, where=tuple(sorted(clauses, key=str)), text="")


def one_of_equals(wordings: Sequence[Example]) -> list[Example]:
    """The same examples, with one plain question for all that mean the same: "Is B left of A?", "Is A right of B?"."""
    first: dict[Question | str, str] = {}
    for plain in sorted({plain for _, plain in wordings}, key=lambda plain: (len(plain), plain)):
        first.setdefault(_meaning(plain), plain)
    return [(tokens, first[_meaning(plain)]) for tokens, plain in wordings]


def fitted(known: Sequence[Example], epochs: int = 12, seed: int = 0) -> Network:
    """Trains networks that differ by their seed, and puts them side by side: the mean of their scores decides."""
    counts = Counter(feature for tokens, _ in known for feature in set(features_of(tokens)))
    features = {feature: row for row, feature in enumerate(f for f, count in counts.items() if count >= LEAST_SEEN)}
    classes = sorted({plain for _, plain in known})
    rows = [torch.tensor([features[f] for f in features_of(tokens) if f in features]) for tokens, _ in known]
    wanted = torch.tensor([classes.index(plain) for _, plain in known])
    others = ~torch.tensor([fitting(slots_of(tokens), classes) for tokens, _ in known])
    fits = [_fit(rows, wanted, others, len(features), epochs, seed + i) for i in range(MEMBERS)]
    vectors = torch.cat([table.weight for table, _ in fits], dim=1)
    weights = torch.cat([last.weight.T for _, last in fits]) / MEMBERS
    bias = sum(last.bias for _, last in fits) / MEMBERS
    return Network(features, *(t.detach().numpy() for t in (vectors, weights, bias)), classes=classes)


def _fit(
    rows: Sequence[Tensor], wanted: Tensor, others: Tensor, features: int, epochs: int, seed: int
) -> tuple[torch.nn.EmbeddingBag, torch.nn.Linear]:
    """One network: AdamW, one cycle, a quarter of the features left out at each step.

    Args:
        rows: the features of each wording.
        wanted, others: [wordings] its class, and [wordings, classes] those that it cannot belong to.
    """
    torch.manual_seed(seed)
    table = torch.nn.EmbeddingBag(features, WIDTH, mode="mean")
    last = torch.nn.Linear(WIDTH, others.shape[1])
    with torch.no_grad():
        table.weight.mul_(0.3)
    parameters = [*table.parameters(), *last.parameters()]
    batches = -(-len(rows) // _BATCH)
    optimizer = torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=epochs * batches + 1, pct_start=0.1)
    for _ in range(epochs):
        for chosen in torch.randperm(len(rows)).split(_BATCH):
            kept = [rows[i][torch.rand(len(rows[i])) > 0.25] for i in chosen.tolist()]
            starts = torch.tensor([0, *(len(k) for k in kept[:-1])]).cumsum(0)
            mean = functional.dropout(table(torch.cat(kept), starts), 0.2)
            loss = functional.cross_entropy(last(mean).masked_fill(others[chosen], _UNLIKELY), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return table, last


def save_network(network: Network, path: Path) -> None:
    """Writes a network: its vectors as whole numbers from -127 to 127 of a step for each column, the rest in halves."""
    steps = np.abs(network.vectors).max(0) / 127
    tensors = {
        "vectors": torch.from_numpy(np.rint(network.vectors / steps).astype(np.int8)),
        "weights": torch.from_numpy(network.weights * steps[:, None]).half().contiguous(),
        "bias": torch.from_numpy(network.bias).half(),
    }
    words = json.dumps({"features": list(network.features), "classes": list(network.classes)}, ensure_ascii=False)
    write_bytes(path, save(tensors, {"words": words}))


def reading(network: Network, asked: Sequence[Example]) -> dict[str, float]:
    """How a network reads wordings that it was not trained on.

    Returns:
        `read`: share of questions that are likely enough; `right`: share of those that are read rightly; `refused`:
        share of what boxes cannot answer that is refused.
    """
    read, right, questions, refused, others = 0, 0, 0, 0, 0
    for tokens, plain in asked:
        probability, likeliest = network.likeliest(tokens, dict.fromkeys(slots_of(tokens), "two"))
        answered = probability > LEAST_PROBABILITY
        if plain == REFUSED:
            refused, others = refused + (not answered), others + 1
        else:
            questions, read, right = (
                questions + 1,
                read + answered,
                right + (answered and _meaning(likeliest) == _meaning(plain)),
            )
    return {"read": read / max(1, questions), "right": right / max(1, read), "refused": refused / max(1, others)}


def checked(files: Sequence[Path]) -> Iterator[tuple[str, dict[str, float]]]:
    """For each file, how a network that was trained on the others reads it."""
    for held in files:
        network = fitted(examples(mirrored(joined([read_wordings(f) for f in files if f != held]))))
        yield held.stem, reading(network, examples(read_wordings(held)))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.likeness", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="train on all files but one, and print how that one is read"
    )
    parser.add_argument("--output", type=Path, default=NETWORK, help="the file that is written (%(default)s)")
    arguments = parser.parse_args(argv)
    files = sorted(FOLDER.glob("*.txt"))
    if arguments.check:
        for name, shares in checked(files):
            print(json.dumps({"held out": name, **{key: round(share, 3) for key, share in shares.items()}}), flush=True)
        return
    known = examples(mirrored(joined([read_wordings(f) for f in files])))
    save_network(fitted(known), arguments.output)
    print(f"{len(known)} wordings, {arguments.output.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
