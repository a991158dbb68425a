"""Grounds noun phrases in a view, each label on its own from the kept prefix, with evidence for every box.

Given a whole question, a model tends to invent the objects in it; given a label alone, it seldom does. Clauses and
superlatives never reach the prompt: geometry resolves them on the boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from n3d_core.decoding.box_decoder import BoxDecoder, DecodedBox, same_object
from n3d_core.decoding.calibration import Calibration
from n3d_core.decoding.drafts import BoxLines, Drafter
from n3d_core.decoding.kept_prefix import KeptPrefix, Prompt
from n3d_core.decoding.loop import Decoder, Token
from n3d_core.errors import TextTooLongError
from n3d_core.evidence import SAME_PLACE, Evidence, Fits, evidence_of, is_found, needs_agreement
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.frame import Frame
from n3d_core.language import prompts
from n3d_core.language.box_grammar import BoxGrammar, ReplyGrammar
from n3d_core.language.structured import BoxCode, BoxCodec
from n3d_core.reasoning.question import ANYTHING, Phrase
from n3d_core.reasoning.resolve import SIZE_ADJECTIVES, matching
from n3d_core.results import BoxDecoded
from n3d_core.runtime import Query, Runtime

_MOST_REPEATS = 12  # lines in a row that repeat earlier ones; a model in such a loop does not stop by itself
_SAME_THING = 0.25  # 3D IoU above which boxes of one class that two prompts found are one object
_SURE = 0.8  # minimum score of a box that another prompt has missed
_MOST_KNOWN = 128  # labels whose replies a view keeps; a small model's classes and much more
_CLEARLY_LESS = 0.5  # if one object is meant, boxes below this share of the best score are ignored


@dataclass(frozen=True)
class Found:
    """A box that counts as found; its score is the probability that it is right, given all the evidence."""

    box: Box3D
    evidence: Evidence


@dataclass(frozen=True)
class Reply:
    """The result of one prompt: the boxes that count as found, and every line that the model wrote."""

    found: tuple[Found, ...]
    codes: tuple[BoxCode, ...]


@dataclass(frozen=True)
class _Wanted:
    """A reply that a phrase needs.

    Attributes:
        label: what it is kept under; empty for all objects.
        text: the prompt.
        fits: whether a box of some name is what the label means; None if any is.
        aside: whether it only adds to another reply: the listener is not told, and a class may well be absent.
    """

    label: str
    text: str
    fits: Fits | None
    aside: bool = False


_EVERYTHING = _Wanted("", prompts.detect_prompt(), None)


class _Lines:
    """The lines of a grounding reply as they come: boxes beyond doubt, and boxes to be compared with everything."""

    def __init__(self, finder: Finder, wanted: _Wanted, query: Query) -> None:
        runtime, self._frame, self._fits = finder.runtime, finder.frame, wanted.fits
        self._calibration, self._query, self._quiet = runtime.calibration, query, wanted.aside
        self.decoder = BoxDecoder(runtime.words, finder.codec, runtime.calibration)
        self.found: list[Found] = []
        self.doubtful: list[tuple[DecodedBox, Evidence]] = []
        drafter = BoxLines(runtime.words, wanted.label, begins=not (wanted.aside and wanted.label))
        prompt, decoder = finder.prefix.prompt(wanted.text), Decoder(runtime.sampling, drafter=drafter)
        grammar = BoxGrammar(runtime.words)
        self.shared = finder.prefix.shared_reply(prompt, grammar, decoder, query.limits, query.work, self._add)

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to decode."""
        return self.shared.reply.ended

    @property
    def warning(self) -> str:
        """Why it is not the whole reply; empty if it is."""
        if self.decoder.repeats >= _MOST_REPEATS:
            return "the model repeats itself; its reply was stopped"
        return _cut_off(self.shared.reply.limits.tokens) if self.shared.reply.cut else ""

    def _add(self, token: Token) -> bool:
        """Takes the next token and tells about a box beyond doubt; returns whether the reply should go on."""
        decoded, fits = self.decoder.add(token), self._fits
        if decoded is None or (fits is not None and not fits(decoded.box.label)):
            return self.decoder.repeats < _MOST_REPEATS
        evidence = evidence_of(decoded.evidence, self._frame, decoded.box)
        if fits is not None and needs_agreement(evidence, self._calibration):
            self.doubtful.append((decoded, evidence))
        elif is_found(evidence, self._calibration):
            self.found.append(_scored(decoded, evidence, self._calibration))
            if not self._quiet:
                self._query.tell(BoxDecoded(self.found[-1].box))
        return True


class Finder:
    """Finds things in one view. Each label is decoded once, and the reply kept, as long as there are not too many.

    Args:
        prefix: KV cache of the system prompt and the image.
    """

    def __init__(self, runtime: Runtime, frame: Frame, codec: BoxCodec, prefix: KeptPrefix) -> None:
        self.runtime, self.frame, self.codec, self.prefix = runtime, frame, codec, prefix
        self._known: dict[str, tuple[Reply, list[str]]] = {}
        self._decoded: dict[str, _Lines] = {}  # decoded together with others, and not asked for yet

    def prepare(self, phrases: Iterable[Phrase], query: Query, everywhere: bool = False) -> None:
        """Decodes what several phrases need in shared passes, so that `find` needs none.

        Args:
            everywhere: whether those that `means_several` need all objects, too: `find_all` does, and so does a count.
        """
        wanted: dict[str, _Wanted] = {}
        for phrase in phrases:
            for one in self._wanted(bare(phrase), everywhere and means_several(phrase)):
                if one.label not in self._known and one.label not in self._decoded:
                    wanted.setdefault(one.label, one)
        if len(wanted) < self.prefix.least_shared:
            return
        rows: dict[str, _Lines] = {}
        for label, one in wanted.items():
            with suppress(TextTooLongError):  # `find` raises it
                rows[label] = _Lines(self, one, query)
        if len(self._decoded) > _MOST_KNOWN:
            self._decoded.clear()
        try:
            self.prefix.share([lines.shared for lines in rows.values()], query.work)
        finally:
            self._decoded |= {label: lines for label, lines in rows.items() if lines.complete}

    def find(self, phrase: Phrase, query: Query) -> Reply:
        """What the label of a phrase finds, without boxes of another name."""
        plain = bare(phrase)
        return self._swept(query) if plain.is_anything else self._once(_named(plain), query)

    def find_all(self, phrase: Phrase, query: Query) -> Reply:
        """As `find`, with objects of that name that a small model finds only when it grounds everything."""
        reply, plain = self.find(phrase, query), bare(phrase)
        if plain.is_anything or self.runtime.vocabulary is None:
            return reply
        with query.quiet():
            everything = self.everything(query).found
        places = matching(plain, [one.box.label for one in everything])
        found = self._with_missed(reply.found, [everything[i] for i in places], query)
        return Reply(tuple(found), reply.codes)

    def everything(self, query: Query) -> Reply:
        """All objects of the scene."""
        return self._once(_EVERYTHING, query)

    @property
    def known_everything(self) -> tuple[Found, ...]:
        """All objects of the scene, if they were grounded before."""
        return self._known[""][0].found if "" in self._known else ()

    @property
    def known_boxes(self) -> list[Box3D]:
        """Every object that was found so far, by whatever name, as one box each."""
        objects = Sightings()
        for reply, _ in self._known.values():
            objects.add(ANYTHING, reply.found)
        return objects.boxes

    def _swept(self, query: Query) -> Reply:
        """All objects. A small model is also asked for each of its classes, as it misses fewer objects that way."""
        everything, vocabulary = self.everything(query), self.runtime.vocabulary
        if vocabulary is None:
            return everything
        found, codes = list(everything.found), list(everything.codes)
        for name in sorted(vocabulary.classes):
            with query.quiet():
                one_class = self._once(_named(Phrase(name, name, plural=True)), query)
            found = self._with_missed(found, one_class.found, query)
            codes += one_class.codes
        return Reply(tuple(found), tuple(codes))

    @staticmethod
    def _with_missed(found: Iterable[Found], others: Iterable[Found], query: Query) -> list[Found]:
        """Adds what is elsewhere, and sure, of what another prompt found."""
        found = list(found)
        for one in others:
            if one.box.score >= _SURE and all(iou_3d(one.box, other.box) < _SAME_THING for other in found):
                query.tell(BoxDecoded(one.box))
                found.append(one)
        return found

    def locate(self, question: str, query: Query) -> Reply:
        """What the model takes a question to be about; for questions that were not understood."""
        return self._judged(self._decode(_Wanted("", prompts.locate_prompt(question), None), query), None, query)

    def reply(self, prompt: Prompt, grammar: ReplyGrammar, drafter: Drafter, query: Query) -> Iterator[Token]:
        """The tokens of a reply; warns if the reply was cut off."""
        cut = query.work.cut
        decoder = Decoder(self.runtime.sampling, drafter=drafter)
        yield from self.prefix.reply(prompt, grammar, decoder, query.limits, query.work)
        if query.work.cut > cut:
            query.warn(_cut_off(min(query.limits.tokens, prompt.room)))

    def _wanted(self, plain: Phrase, everywhere: bool) -> Iterator[_Wanted]:
        """The replies that a phrase needs."""
        vocabulary = self.runtime.vocabulary
        if not plain.is_anything:
            yield _named(plain)
        if plain.is_anything or (everywhere and vocabulary is not None):
            yield replace(_EVERYTHING, aside=not plain.is_anything)
        if plain.is_anything and vocabulary is not None:
            for name in vocabulary.classes:
                yield replace(_named(Phrase(name, name, plural=True)), aside=True)

    def _once(self, wanted: _Wanted, query: Query) -> Reply:
        query.limits.check(0)
        label = wanted.label
        if label not in self._known:
            before = len(query.warnings)
            lines = self._decoded.pop(label) if label in self._decoded else self._decode(wanted, query)
            found = self._judged(lines, wanted.fits, query)
            self._known[label] = found, query.warnings[before:]
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(known for known in self._known if known)]  # the oldest but "", everything
            return found
        found, warnings = self._known[label]
        for warning in warnings:
            query.warn(warning)
        for one in found.found:
            query.tell(BoxDecoded(one.box))
        return found

    def _decode(self, wanted: _Wanted, query: Query) -> _Lines:
        lines = _Lines(self, wanted, query)
        self.prefix.share([lines.shared], query.work)
        return lines

    def _judged(self, lines: _Lines, fits: Fits | None, query: Query) -> Reply:
        """What counts as found: the boxes beyond doubt, and the doubtful ones that grounding everything confirms."""
        if lines.warning:
            query.warn(lines.warning)
        found, calibration = list(lines.found), self.runtime.calibration
        for one in found:
            query.tell(BoxDecoded(one.box))
        if lines.doubtful and fits is not None:
            with query.quiet():
                everything = [one.box for one in self.everything(query).found]
            for decoded, evidence in lines.doubtful:
                compared = evidence.compared(decoded.box, everything, fits)
                if is_found(compared, calibration):
                    found.append(_scored(decoded, compared, calibration))
                    query.tell(BoxDecoded(found[-1].box))
        return Reply(tuple(found), tuple(lines.decoder.codes))


def _named(plain: Phrase) -> _Wanted:
    """The reply that finds the label of a phrase."""

    def fits(name: str) -> bool:
        return bool(matching(plain, [name]))

    return _Wanted(plain.label, prompts.class_prompt(prompts.harmless(plain.label)), fits)


def _scored(decoded: DecodedBox, evidence: Evidence, calibration: Calibration) -> Found:
    return Found(replace(decoded.box, score=calibration.score(evidence.values)), evidence)


def _cut_off(tokens: int) -> str:
    return f"the reply was cut after {tokens} tokens; what came later is missing"


@dataclass
class Sightings:
    """What several phrases found, without duplicates.

    Attributes:
        found: the objects.
        meant: for each phrase, indices into `found`.
    """

    found: list[Found] = field(default_factory=list)
    meant: dict[Phrase, list[int]] = field(default_factory=dict)

    def add(self, phrase: Phrase, found: Iterable[Found]) -> None:
        """Adds what a phrase found."""
        indices = self.meant.setdefault(phrase, [])
        for one in found:
            index = self._place(one, anything=phrase.is_anything)
            if index not in indices:
                indices.append(index)

    def name_apart(self, everything: Iterable[Found]) -> None:
        """Replaces bare class names by the fuller names that grounding everything gave the same objects."""
        for one in everything:
            for index, other in enumerate(self.found):
                if iou_3d(one.box, other.box) >= SAME_PLACE:
                    self._rename(index, one.box.label)

    @property
    def boxes(self) -> list[Box3D]:
        """Boxes of the objects."""
        return [one.box for one in self.found]

    def _place(self, one: Found, anything: bool) -> int:
        """Index of an object in `found`; new ones are appended, known ones get the more specific of the two labels."""
        for index, other in enumerate(self.found):
            if _is_one(one.box, other.box, anything):
                self._rename(index, one.box.label)
                return index
        self.found.append(one)
        return len(self.found) - 1

    def _rename(self, index: int, label: str) -> None:
        """Takes a label that contains the present one and says more."""
        one = self.found[index]
        if set(one.box.label.lower().split()) < set(label.lower().split()):
            self.found[index] = Found(replace(one.box, label=label), one.evidence)


def means_several(phrase: Phrase) -> bool:
    """Whether all objects of a name are wanted, if only to choose among them."""
    return phrase.plural or not phrase.is_plain


def bare(phrase: Phrase) -> Phrase:
    """A phrase without the parts that geometry resolves: clauses, superlatives and adjectives of size."""
    attributes = tuple(a for a in phrase.attributes if a not in SIZE_ADJECTIVES)
    plain = replace(phrase, attributes=attributes, where=(), pick=None, number=None, without=())
    return plain if phrase.named else replace(plain, text=plain.label)


def kept(found: Iterable[Found], least: float, single: bool) -> list[Found]:
    """Drops boxes with low scores.

    Args:
        least: minimum score; the best box is always kept.
        single: whether one object is meant; then boxes far below the best score are dropped, too.
    """
    ranked = sorted(found, key=lambda one: -one.box.score)
    if not ranked:
        return []
    best = ranked[0].box.score
    if single:
        least = max(least, _CLEARLY_LESS * best)
    return [one for one in found if one.box.score >= min(least, best)]


def _is_one(a: Box3D, b: Box3D, anything: bool) -> bool:
    if same_object(a, b):
        return True
    iou = iou_3d(a, b)
    if iou >= SAME_PLACE:
        return anything or _agree(a, b)
    return iou >= _SAME_THING and a.label != b.label and _agree(a, b)  # "mug" and "red mug"; two mugs share less


def _agree(a: Box3D, b: Box3D) -> bool:
    """Whether one label contains all words of the other."""
    first, second = set(a.label.lower().split()), set(b.label.lower().split())
    return first <= second or second <= first
