"""Trains the small network that knows questions by their wordings (`n3d_core.reasoning.likeness`).

`python -m training.likeness` writes `n3d_core/reasoning/likeness.safetensors` from `training/questions/voices/*.txt`;
`--check` trains on all files but one, for each in turn, and prints how that one's questions are read. Each file is by
people of other voices, so this says how strangers' questions fare. One minute on one core.

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
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch.nn import functional

from n3d_core.atomic_write import write_bytes
from n3d_core.reasoning.likeness import LEAST_PROBABILITY, REFUSED, SLOT, Network, features_of, tokens_of

FOLDER = Path(__file__).parent / "questions" / "voices"
NETWORK = Path(__file__).parents[1] / "n3d_core" / "reasoning" / "likeness.safetensors"
WIDTH = 48
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
_OPPOSITE = {
    "right of": "left of",
    "shorter than": "taller than",
    "smaller than": "bigger than",
    "behind": "in front of",
    "below": "above",
}
_SYMMETRIC = re.compile(
    r"(?P<before>(?:How far is |How many metres is |How big is the gap between |How tall are |Are |Which is \w+, |"
    r"Which is further \w+, |(?:Is anything|Which object is) between |.*pass between |"
    r"(?:Is|Does) \{o\d\} (?:fit )?between |Is (?=\{o\d\} (?:within|more than) \{l\})|"
    r"Which is closer to \{o\d\}: ))(?P<one>\{o\d\})"
    r"(?P<between> from | and | or | within \{l\} of | more than \{l\} from )(?P<other>\{o\d\})(?P<after>.*)"
)
_OF_THREE = re.compile(r"(Sort|Which is the \w+:) \{o\d\}, \{o\d\} (and|or) \{o\d\}(.*)")


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
    return list(found)


def _example(line: str, plain: str) -> Example:
    """Numbers objects in the order in which the wording names them."""
    order = list(dict.fromkeys(slot for slot in SLOT.findall(line) if slot in ("a", "b", "c")))
    numbers = {slot: f"o{i + 1}" for i, slot in enumerate(order)}

    def numbered(text: str) -> str:
        return SLOT.sub(lambda slot: f"{{{numbers.get(slot[1], slot[1])}}}", text)

    pieces = re.split(r"(\{\w+\})", numbered(line))
    tokens = [token for piece in pieces for token in ([piece] if SLOT.fullmatch(piece) else tokens_of(piece))]
    return tuple(tokens), plain if plain == REFUSED else _one_of_equals(numbered(plain))


def _one_of_equals(plain: str) -> str:
    """One for plain questions that mean the same: "Is B left of A?" for "Is A right of B?"."""
    turned = re.fullmatch(rf"Is (\{{o\d\}}) ({'|'.join(_OPPOSITE)}) (\{{o\d\}})\?", plain)
    if turned:
        return f"Is {turned[3]} {_OPPOSITE[turned[2]]} {turned[1]}?"
    pair = _SYMMETRIC.fullmatch(plain)
    if pair:
        one, other = sorted((pair["one"], pair["other"]))
        return f"{pair['before']}{one}{pair['between']}{other}{pair['after']}"
    return _OF_THREE.sub(r"\1 {o1}, {o2} \2 {o3}\3", plain)


def fitted(known: Sequence[Example], epochs: int = 12, seed: int = 0) -> Network:
    """Trains a network: AdamW, one cycle, a quarter of the features left out at each step."""
    torch.manual_seed(seed)
    counts = Counter(feature for tokens, _ in known for feature in set(features_of(tokens)))
    features = {feature: row for row, feature in enumerate(f for f, count in counts.items() if count > 2)}
    classes = sorted({plain for _, plain in known})
    rows = [torch.tensor([features[f] for f in features_of(tokens) if f in features]) for tokens, _ in known]
    wanted = torch.tensor([classes.index(plain) for _, plain in known])
    table = torch.nn.EmbeddingBag(len(features), WIDTH, mode="mean")
    last = torch.nn.Linear(WIDTH, len(classes))
    with torch.no_grad():
        table.weight.mul_(0.3)
    parameters = [*table.parameters(), *last.parameters()]
    batches = -(-len(known) // 64)
    optimizer = torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=epochs * batches + 1, pct_start=0.1)
    for _ in range(epochs):
        for chosen in torch.randperm(len(known)).split(64):
            kept = [rows[i][torch.rand(len(rows[i])) > 0.25] for i in chosen.tolist()]
            starts = torch.tensor([0, *(len(k) for k in kept[:-1])]).cumsum(0)
            mean = functional.dropout(table(torch.cat(kept), starts), 0.2)
            loss = functional.cross_entropy(last(mean), wanted[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        arrays = [np.asarray(t.half().float()) for t in (table.weight, last.weight.T, last.bias)]
    return Network(features, *arrays, classes=classes)


def save_network(network: Network, path: Path) -> None:
    """Writes a network in half precision."""
    arrays = {"vectors": network.vectors, "weights": network.weights, "bias": network.bias}
    words = json.dumps({"features": list(network.features), "classes": list(network.classes)}, ensure_ascii=False)
    tensors = {name: torch.from_numpy(array).half().contiguous() for name, array in arrays.items()}
    write_bytes(path, save(tensors, {"words": words}))


def reading(network: Network, asked: Sequence[Example]) -> dict[str, float]:
    """How a network reads wordings that it was not trained on.

    Returns:
        `read`: share of questions that are likely enough; `right`: share of those that are read rightly; `refused`:
        share of what boxes cannot answer that is refused.
    """
    read, right, questions, refused, others = 0, 0, 0, 0, 0
    for tokens, plain in asked:
        slots = {slot[1:-1] for slot in tokens if SLOT.fullmatch(slot)} - {"unit"}
        probability, likeliest = network.likeliest(tokens, slots)
        answered = probability > LEAST_PROBABILITY
        if plain == REFUSED:
            refused, others = refused + (not answered), others + 1
        else:
            questions, read, right = questions + 1, read + answered, right + (answered and likeliest == plain)
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
