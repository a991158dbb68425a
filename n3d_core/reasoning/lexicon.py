"""Words of the question grammar: their classes, what they mean, and how a text is split into them.

A word that stands in quotes in `questions.grammar` is itself; a word of `CLASSES` is a terminal of that class; a word
of `_NEVER_NOUNS` is no noun, so that a sentence which needs it as one is not understood; any other word is a noun
(`WORD`), because a model may know any.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from n3d_core.reasoning.nouns import singulars


def _words(text: str) -> dict[str, int]:
    """Words with their places in a list."""
    return {word: i for i, word in enumerate(text.split())}


CARDINALS = _words(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty"""
)
"""Numbers in words."""
ORDINALS = {
    word: i + 1
    for listed in (
        "first second third fourth fifth sixth seventh eighth ninth tenth",
        "1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th",
    )
    for word, i in _words(listed).items()
}
"""Ordinals in words and figures."""

CLASSES: dict[str, str] = {
    "COLOR": """red reddish orange yellow yellowish green greenish blue bluish purple pink white black brown brownish
        gray grey greyish grayish silver gold golden beige violet turquoise cyan magenta maroon navy teal olive tan
        khaki lavender indigo crimson scarlet burgundy bronze lime ivory charcoal multicolored multicoloured colorful
        colourful blue-green green-blue""",
    "SHADE": "dark bright pale neon",
    "QUALITY": """wooden metal metallic plastic ceramic leather cardboard steel rubber woolen porcelain striped dotted
        checkered spotted patterned empty full open opened closed shut broken damaged dirty clean new old modern antique
        vintage expensive cheap heavy lightweight soft hard fragile hot cold warm wet dry shiny matte transparent round
        square circular rectangular triangular oval cylindrical spherical cubic curved bent folded upright fresh ripe
        rotten edible sharp blunt dangerous safe beautiful ugly pretty nice cute funny comfortable useful useless real
        fake whole portable movable reachable occupied free busy available cracked sturdy alive dead valuable single
        flat plain""",
    "SIZE": "tall high wide broad long deep thick big large",
    "SMALL": "small little tiny huge short narrow thin slim low shallow giant enormous massive medium",
    "DIM": "heights widths lengths height width breadth length thickness volume",
    "_WHOLE_SIZE": "size sizes dimensions dimension measurements proportions",
    "COMP": "taller shorter wider broader thinner narrower slimmer smaller tinier longer thicker higher",
    "MORE": "greater larger bigger lower lesser",
    "SUPER": """leftmost rightmost frontmost foremost rearmost backmost highest topmost uppermost lowest bottommost
        lowermost widest broadest thinnest narrowest slimmest tallest shortest biggest largest smallest tiniest longest
        thickest greatest""",
    "_NEAR": "closer nearer",
    "_NEAREST": "closest nearest",
    "_FAR": "farther further",
    "_FARTHEST": "farthest furthest",
    "SIDE": "left right lefthand righthand",
    "PLANE": "vertical vertically horizontal horizontally",
    "CARDINAL": " ".join(w for w in CARDINALS if w != "one"),
    "ORDINAL": " ".join(ORDINALS),
    "UNIT": """m meter meters metre metres cm cms centimeter centimeters centimetre centimetres mm mms millimeter
        millimeters millimetre millimetres ft feet foot inch inches""",
    "_LITRES": "liter liters litre litres",
    "_DEGREES": "degree degrees",
    "_BE": "is are was were being been am",
    "_DO": "do does did",
    "_MODAL": "could would will should may might must shall",
    "_HAVE": "have has had having",
    "_SEEM": "appear appears look looks seem seems",
    "_PLACED": """standing sitting lying located positioned situated placed resting hanging found kept parked laid
        leaning mounted stored set""",
    "_STAND": "come comes stand stands stood sit sits sat lie lies rest rests hang hangs exist exists",
    "_THING": "object objects thing things item items stuff entity entities",
    "_ANYTHING": "anything everything something",
    "_CAMERA": "camera viewer observer photographer robot lens sensor cameraman",
    "_ME": "me us yourself myself",
    "_I": "i we someone somebody they people",
    "_SCENE": "scene image picture photo photograph frame view room surroundings environment snapshot sight",
    "_SORT": "sort rank arrange sequence ranked arranged",
    "_ASK": """tell name say confirm determine estimate give measure calculate compute check verify report specify know
        state provide describe share explain guess""",
    "_FIND": "find locate identify pick select choose detect spot highlight point",
    "_SEE": "see notice observe seen",
    "_GRASP": "grasp grip grab hold clamp",
    "_GRASPED": "grasped gripped grabbed held clamped",
    "_HOLD": "contain accommodate",
    "_GRIPPER": "gripper hand claw jaws fingers",
    "_OPENING": "opening passage slot hole doorway aperture corridor",
    "_GAP": "gap clearance",
    "_OPENS": "opens open",
    "_CLOTHES": "shirt t-shirt jacket dress hat coat suit hoodie sweater uniform vest jeans pants skirt cap helmet",
    "_PASS": "fit pass go get squeeze slide",
    "_DISTANCE": "distance distances separation spacing",
    "_EXACT": """approximate estimated exact actual total overall measured straight-line euclidean direct current rough
        real-world""",
    "_COUNT": "count number amount quantity",
    "_CLOCK": "oclock clock",
    "_MOVE": "take move bring carry put push pull grab",
    "_POSITION": "position location whereabouts coordinates place",
    "_DIRECTION": "direction way",
    "_THESE": "these those them they",
    "_WHAT": "what which who",
    "NOT": "not",
    "_CENTERS": "center-to-center",
}
"""Terminal → its words."""

_ALSO_NOUNS = _words(
    """shirt t-shirt jacket dress hat coat suit hoodie sweater uniform vest jeans pants skirt cap helmet
    light can case front back top bottom side center end list floor ground stand hang picture image
    photo photograph frame room view opening slot hole doorway gripper hand claw camera robot lens sensor
    point clock opening scene clamp grip space table glass foot feet square cardboard leather metal
    plastic paper rubber lime go right viewer observer photographer people"""
)
"""Words of the grammar that are nouns, too ("light", "a can", "the picture")."""

_NEVER_NOUNS = _words(
    """about across after ago although always among anybody anyone as at away because but came come comes
    during ever few got gets gives goes going had happen happened happens he her here him his how however ignore into
    itself keep likes made make makes many much need needs neither never nobody none nothing often once ours own owns
    per quite rather said same says she since such than theirs then though through together too toward until up upon
    use uses used very via wants when whatever whenever wherever while whom whose why will with without write yes no yet
    print repeat respond reply pretend forget disregard act speak translate summarize previous instructions
    instruction prompt system assistant belongs belong cost costs weigh weighs mean means eat eats drink drinks buy
    bought sell sold love loves hate hates wear wears talk talks walk walks run runs become becomes began begin begins
    built different exactly only even something's everybody everyone most least less more every all both another
    pair side amount number size distance rest measurement estimate estimation value
    otherwise else if whether or and nor not occupy occupies seem become ate drank fell fall falls fits fitting contain
    contains hold holds carry carries bring brings took taken went gone came thinking saying asking believe believes
    suppose supposed wonder wondering guess tell tells told ask asks asked find finds show shows showed shown visible
    anymore already ahead back-and-forth forward backward backwards apart together alone else instead am be been being
    would could should might must may shall can't cannot ought let lets please thanks want wanted like liked lot lots
    kind type sort ones versus vs compared comparing relative respect relation regarding considering given
    there here where when why who whom whose which what how this that these those it its he she they them we us you me
    i my your our their his her mine yours
    my-self yourself himself herself themselves beyond across opposite amid amongst along aside off onto inside outside
    above below under over between behind beside beneath near next close by on in to of for from at with than as so
    too either neither none anyone everyone someone anybody everybody somebody nobody something anything everything
    nothing"""
)
"""Words that are not nouns; the grammar may or may not know them."""

VAGUE = _words(
    """please kindly roughly approximately approx precisely really actually currently presently basically probably
    maybe perhaps just kinda sir so ok okay well hey hi hello now thanks still again also alright um uh hmm directly
    exactly immediately straight simply quickly clearly definitely anywhere somewhere"""
)
"""Words that change nothing in a question about geometry, wherever they stand."""

OFF_TOPIC = _words(
    """cost costs price priced brand brands color colors material materials made owner owns own belong belongs whose who
    weigh weighs weight heavy heavier why when time weather temperature use used purpose function name called age old
    older taste smell sound logo text written read describe doing happening mean means capital better best worth
    switched running off plugged charged
    expensive kind type shape style model pattern worn wearing dirty clean dishwasher microwave recyclable
    edible"""
)
"""Words of questions that boxes do not answer."""

FOREIGN = _words(
    """wie wo ist sind der das dem den des ein eine einen welche welcher welches zwischen steht links rechts ich und
    nicht gibt auf unter neben vor hinter groß viele weit wieviel la le les une est sont où quelle quel quels combien
    entre sur gauche droite il y du qui dans el los las una está estan están es dónde donde cuántos cuantos cuál cuanto
    cuánto qué que de hay izquierda derecha lejos dov'è dove quanto quanti gli della del è tra sono hoe waar hoeveel een
    het tussen zijn er onde quantos qual está entre hvor var är och ett mellan gdzie jest ile jak kde nerede kaç
    ne quantas há"""
)
"""Common words of other languages that are not English words."""
OTHER_SCRIPTS = re.compile(
    "[\u0370-\u03ff\u0400-\u04ff\u0590-\u05ff\u0600-\u06ff\u0900-\u097f\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u00bf]"
)

_PLURAL_MODIFIERS = _words("sports glasses clothes scissors jeans pants news arms goods savings")
_NOUNS_IN_ING = _words(
    """thing ring string wing king spring building painting ceiling railing clothing earring awning bedding dumpling
    pudding drawing carving swing sling duckling wing"""
)
_ENDS = _words("front back rear top bottom upper middle center central left right")
PARTS = _words("door doors seat seats wheel wheels yard desk light lights window windows panel leg legs tire tires")
_NOUNS_IN_LY = _words("family belly jelly lily fly butterfly assembly supply dolly holly trolly bully monopoly doily")
_NOUNS_IN_ED = _words("seaweed moped tumbleweed steed newlywed bobsled waterbed flowerbed")


def _never_a_noun(word: str) -> bool:
    return word in _NEVER_NOUNS or word.endswith("where") or (word.endswith("ly") and word not in _NOUNS_IN_LY)


def _is_plural(word: str) -> bool:
    return word.endswith("s") and "'" not in word and singulars(word)[0] != word and word not in _PLURAL_MODIFIERS


def is_compound(words: Sequence[str]) -> bool:
    """Whether words can be one noun: "coffee mug", but not "mugs stand", "lamp quickly" or "mug lifted"."""
    *before, last = words
    if any("QUALITY" in _TYPES.get(w, ()) or _is_plural(w) for w in before):
        return False
    if before and before[0] in _ENDS and not (before[0] in ("front", "back", "rear") and last in PARTS):
        return False
    if last.endswith("ing") and last not in _NOUNS_IN_ING:
        return False
    return not (last.endswith("ed") and len(last) > 5 and last not in _NOUNS_IN_ED)


_REWRITTEN = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        (r"<image>", " "),
        (r"\b(how \w+)'s\b", r"\1 is"),
        (r"\b(?:a |the )?pair of (?=(?:scissors|(?:sun)?glasses|shoes|pliers|headphones|pants|gloves)\b)", "the "),
        (r"^\s*(?:hey|hi|hello|ok|okay)[ ,]+(?:there|robot|assistant|computer)\b[ ,:]*", ""),
        (r"^\s*(?:robot|assistant|computer) *[,:]+", ""),
        (r"\bcan u\b", "can you"),
        (r"\bdo u\b", "do you"),
        (r"[\u2018\u2019\u00b4`]", "'"),
        (r"[\u201c\u201d]", '"'),
        (r"[\u2010\u2011\u2013\u2014]", "-"),
        (r" ?\((?:highlighted|marked|outlined|shown|drawn)[^()]*\)", ""),
        (r" ?(?:First locate the bbox|The reference code is)\b.*$", ""),
        (r"\bo ?'? ?clock\b", "oclock"),
        (r"\bcan'?t\b|\bcannot\b", "can not"),
        (r"\bwon'?t\b", "would not"),
        (r"\b(is|are|was|were|do|does|did|could|would|should|has|have)n'?t\b", r"\1 not"),
        (r"\b(what|where|how|who|which|there|that|here|it|when|object|thing|one)'s\b", r"\1 is"),
        (r"\b(what|where|how|who|there)s\b", r"\1 is"),
        (r"\b(\w+)'re\b", r"\1 are"),
        (r"\bi'?m\b", "i am"),
        (r"\b(i|you|we|they|it|that)'d\b", r"\1 would"),
        (r"\b(i|you|we|they|it|that)'ll\b", r"\1 will"),
        (r"\b(i|you|we|they)'ve\b", r"\1 have"),
        (r"\blet'?s\b", "let us"),
        (r"\b(left|right)[- ]hand\b", r"\1hand"),
        (r"\b(left|right|front|top|bottom|back)[- ]most\b", r"\1most"),
        (r"\b(?:from |measured )?cent(?:er|re)s?[- ]to[- ]cent(?:er|re)s?\b", "center-to-center"),
        (r"\bfrom cent(?:er|re) to cent(?:er|re)\b|\bbetween (?:their|the) cent(?:er|re)s\b", "center-to-center"),
        (r"\bcentre\b", "center"),
        (r"\bcolour(s|ed|ful|less)?\b", r"color\1"),
        (r"\b(right now|at the moment|at present|more or less|by any chance|of course|for me|if you can|if possible"
         r"|thank you|as well|a bit|a little|in your opinion|as far as you can (?:tell|see)|then|right next to"
         r"(?<!next to))\b", " "),
        (r"\bright (?=next to|beside|behind|above|below|under|on top|in front|by\b)", ""),
        (r"(?<=\d)[ -]*(?:\"|''|inches|inch)(?!\w)", " inches "),
        (r"(?<=\d)[ -]*(mm|cm|m|ft|centimet(?:er|re)s?|millimet(?:er|re)s?|met(?:er|re)s?|foot|feet)(?:-(?=[a-z]))?\b",
         r" \1 "),
        (r"\b(?:would|do) you (?:say|think|believe|reckon|guess|estimate)\b(?= (?:the|that|a|my|it|is|\w+ is)\b)", " "),
        (r"[()]", " "),
    )
)  # fmt: skip
_TOKEN = re.compile(r"\ue000\d+\ue001|\d+(?:[.,]\d+)?(?![\w_])|[^\W_](?:[\w/&+-]|'(?!s\b|\W|$))*|'s?\b|[.?!;:,]|\S")


@dataclass(frozen=True)
class Word:
    """A word or mark of a text: what it may be in the grammar, where it stands, and whose name it is."""

    text: str
    types: frozenset[str]
    start: int
    end: int
    name: str = ""


_TYPES: dict[str, set[str]] = {}
for _terminal, _list in CLASSES.items():
    for _word in _list.split():
        _TYPES.setdefault(_word, set()).add(_terminal)


def normal_text(text: str) -> str:
    """A text with contractions written out, one spelling, and single spaces."""
    for pattern, words in _REWRITTEN:
        text = pattern.sub(words, text)
    return " ".join(text.split())


def hold_names(text: str, names: Sequence[str]) -> tuple[str, list[str]]:
    """Replaces the caller's names in `text` by marks, the longest first; returns the marked text and the names."""
    text = re.sub("[\ue000\ue001]", " ", text)
    table = sorted({n for n in names if n.strip()}, key=len, reverse=True)
    for i, name in enumerate(table):
        words = r"\s+".join(re.escape(w) for w in name.split())
        flags = 0 if len(name.strip()) == 1 else re.IGNORECASE
        text = re.sub(rf"(?<![\w\ue000]){words}(?![\w\ue001])", f"\ue000{i}\ue001", text, flags=flags)
    return text, table


def words_of(text: str, table: Sequence[str], literals: Collection[str]) -> tuple[str, list[Word]]:
    """A normal text with its names in place, and its words.

    Args:
        table: the names behind the marks of `hold_names`.
        literals: the words that stand in quotes in the grammar: each is a terminal of its own name.
    """
    found, released, done = [], "", 0
    for match in _TOKEN.finditer(text):
        mark = match[0]
        name = table[int(mark[1:-1])] if mark[0] == "\ue000" else ""
        released += text[done : match.start()]
        start, done = len(released), match.end()
        released += name or mark
        types = _types(mark, name, literals)
        if types is not None:
            found.append(Word(name or mark, frozenset(types), start, len(released), name))
    return released + text[done:], found


def _types(mark: str, name: str, literals: Collection[str]) -> set[str] | None:
    """The terminals of a word; None for a word that changes nothing."""
    word = (name or mark).lower()
    if word in VAGUE and not name:
        return None
    types = set(_TYPES.get(word, ()))
    if word in literals:
        types.add(word)
    if name:
        return types | {"NAME"}
    if mark[0].isdigit() and re.fullmatch(r"\d+(?:[.,]\d+)?", mark):
        return types | {"NUMBER"}
    if mark in ("'s", "'"):
        return {"_POSSESSIVE"}
    if len(mark) == 1 and mark in "ABCDEFGHJKLMNOPQRSTUVWXYZ":
        return types | {"WORD"}
    if mark[0].isalnum() and (not types or word in _ALSO_NOUNS) and not _never_a_noun(word):
        types.add("WORD")
    return types
