"""Reads a question, or noun phrases: text in, typed question out.

One grammar (`grammar.lark`) covers whole sentences. What it does not consume whole, and what it reads in two ways that
mean different things, is `NotUnderstood`; nothing is guessed. Several sentences may lead up to one question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from n3d_core.reasoning.lexicon import Word, hold_names, normal_text, words_of
from n3d_core.reasoning.meaning import Context, Meaning, NoReading, Unit
from n3d_core.reasoning.typed_question import NotUnderstood, Phrase, Question

if TYPE_CHECKING:
    from lark import Lark

MAX_CHARACTERS = 600
"""Longer texts are not read."""
MAX_WORDS = 70
"""In a sentence; the parser's cost grows faster than the text."""
_MAX_READINGS = 32


def read_question(text: str, names: Sequence[str] = ()) -> Question | NotUnderstood:
    """What a question asks for.

    Args:
        text: English, one question, with sentences before it that say what "it" and "them" are.
        names: names that the caller gave to objects: matched whole, whatever words they hold.
    """
    if len(text) > MAX_CHARACTERS:
        return _too_long(text)
    contexts: list[Context] = []
    units: list[Unit] = []
    questions: list[Question] = []
    for words, said in _sentences(text, names):
        found = _readings(words, said, "question")
        if found:
            if len(found) > 1:
                return NotUnderstood("wording", f"{said!r} can be read in more than one way.")
            questions += found
            continue
        told = _readings(words, said, "context")
        if not told:
            return NotUnderstood("wording", f"{said!r} is not understood.")
        contexts += [t for t in told[:1] if isinstance(t, Context)]
        units += [t for t in told[:1] if isinstance(t, Unit)]
    if not questions:
        return NotUnderstood("wording", "There is no question in the text.")
    return questions[0]


def read_phrases(text: str) -> tuple[Phrase, ...] | NotUnderstood:
    """The noun phrases of a text that says what to look for."""
    if len(text) > MAX_CHARACTERS:
        return _too_long(text)
    raise NotImplementedError


def _too_long(text: str) -> NotUnderstood:
    return NotUnderstood("too_long", f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are read.")


@cache
def _parser() -> tuple[Lark, dict[str, str]]:
    """The grammar's parser, and the words that stand in quotes in it with their terminals."""
    from lark import Lark
    from lark.lexer import Lexer, PatternStr

    class Words(Lexer):
        def __init__(self, _: Any) -> None: ...

        def lex(self, words: Any) -> Iterator[Any]:
            yield from words

    grammar = files("n3d_core.reasoning").joinpath("grammar.lark").read_text(encoding="utf-8")
    parser = Lark(
        grammar,
        parser="earley",
        lexer=Words,
        ambiguity="explicit",
        start=["question", "context", "wanted"],
        propagate_positions=True,
    )
    return parser, {t.pattern.value: t.name for t in parser.terminals if isinstance(t.pattern, PatternStr)}


def _sentences(text: str, names: Sequence[str]) -> list[tuple[list[Word], str]]:
    marked, table = hold_names(text, names)
    normal = normal_text(marked)
    sentences: list[list[Word]] = [[]]
    for word in words_of(normal, table, _parser()[1]):
        if word.text in (".", "?", "!", ";"):
            sentences.append([])
        else:
            sentences[-1].append(word)
    return [(_without_stray_commas(s), normal) for s in sentences if s]


def _without_stray_commas(words: list[Word]) -> list[Word]:
    kept: list[Word] = []
    for word in words:
        if word.text not in (",", ":") or (kept and kept[-1].text not in (",", ":")):
            kept.append(word)
    while kept and kept[-1].text in (",", ":"):
        kept.pop()
    return kept


def _readings(words: list[Word], said: str, start: str) -> list[Any]:
    """What a sentence may mean, each meaning once; nothing where the grammar does not consume it whole."""
    from lark.exceptions import UnexpectedInput

    if len(words) > MAX_WORDS:
        return []
    try:
        tree = _parser()[0].parse(words, start=start)  # type: ignore[arg-type]
    except UnexpectedInput:
        return []
    return _meanings(tree, said, {})


def _meanings(node: Any, text: str, known: dict[int, list[Any]]) -> list[Any]:
    """The meanings of a tree, each once."""
    if isinstance(node, Word):
        return [node]
    if id(node) not in known:
        if node.data == "_ambig":
            found = [m for child in node.children for m in _meanings(child, text, known)]
        else:
            found = []
            for children in islice(product(*(_meanings(child, text, known) for child in node.children)), 256):
                try:
                    found.append(_meaning(node, [c for c in children if c is not None], text))
                except NoReading:
                    continue
        known[id(node)] = list(dict.fromkeys(found))[:_MAX_READINGS]
    return known[id(node)]


def _meaning(node: Any, children: list[Any], text: str) -> Any:
    """What one alternative means, given the meanings of its children."""
    if node.data == "nothing":
        return None
    method: Callable[..., Any] | None = getattr(Meaning, node.data, None)
    if method is not None:
        meaning = Meaning()
        meaning.said = "" if node.meta.empty else text[node.meta.start_pos : node.meta.end_pos]
        return method(meaning, *children)
    if not children:
        return str(node.data)
    if len(children) != 1:
        raise AssertionError(f"{node.data} of {children}")
    return children[0]
