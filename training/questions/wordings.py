"""How questions are worded: several ways for each type.

`{a}`, `{b}`, `{c}` are objects with their article ("the red mug"), `{list}` several of them, `{k}` a kind of object,
`{p}` a relation ("to the left of", "wider than"), `{q}` the opposite one, `{w}` what one of two or more is ("wider",
"widest"), `{unit}` nothing or " in inches". A question is one sentence: the second pass sees no more than the first.
"""

from __future__ import annotations

from n3d_core.reasoning.asking import RELATION_WORDS

YES_NO = (
    "Is {a} {p} {b}?",
    "Would you say that {a} is {p} {b}?",
    "Is it true that {a} is {p} {b}?",
    "Can you confirm whether {a} is {p} {b}?",
    "Can you tell me if {a} is {p} {b}?",
    "Do you think {a} is {p} {b}?",
    "Does {a} appear {p} {b}?",
    "Is {a} really {p} {b}?",
    "In this scene, is {a} {p} {b}?",
    "Tell me whether {a} is {p} {b}.",
)
OPPOSITE_YES_NO = (
    "Is {a} positioned {p} {b} as seen from the side opposite the photographer?",
    "Is {a} {p} {b} as seen from the opposite side?",
    "From the opposite view, is {a} {p} {b}?",
    "From the opposite viewpoint, is {a} {p} {b}?",
    "Seen from the side opposite the camera, is {a} {p} {b}?",
    "Viewed from behind the scene, is {a} {p} {b}?",
    "Is {a} {p} {b} when viewed from the opposite direction?",
    "Looking from the other side, would {a} be {p} {b}?",
)
CHOICE = (
    "Which is {w}, {a} or {b}?",
    "Which one is {w}, {a} or {b}?",
    "Which object is {w}: {a} or {b}?",
    "Between {a} and {b}, which one is {w}?",
    "Of {a} and {b}, which is {w}?",
    "Which of {a} and {b} is {w}?",
    "Tell me which is {w}, {a} or {b}.",
    "Comparing {a} and {b}, which one is {w}?",
)
FREE = (
    "Is {a} {p} or {q} {b}?",
    "Would you say {a} is {p} or {q} {b}?",
    "Can you tell me if {a} is {p} or {q} {b}?",
    "In this image, is {a} {p} or {q} {b}?",
)
CHOICE_WORDS = {
    "left": ("further to the left", "more to the left", "on the left"),
    "right": ("further to the right", "more to the right", "on the right"),
    "front": ("closer to the camera", "nearer to the camera", "in front"),
    "behind": ("farther from the camera", "further away from the camera", "further back"),
    "above": ("higher", "higher up", "at a higher position"),
    "below": ("lower", "lower down", "at a lower position"),
    "wider": ("wider", "broader", "larger in width"),
    "thinner": ("thinner", "narrower", "less wide"),
    "taller": ("taller", "greater in height"),
    "shorter": ("shorter", "less tall"),
    "bigger": ("bigger", "larger", "bigger in volume"),
    "smaller": ("smaller", "smaller in volume"),
    "longer": ("longer", "greater in length"),
    "less_long": ("shorter in length", "less long"),
    "thicker": ("thicker",),
    "less_thick": ("less thick",),
}
SUPERLATIVE_WORDS = {
    "left": ("leftmost",),
    "right": ("rightmost",),
    "front": ("nearest", "closest", "closest to the camera"),
    "behind": ("furthest", "farthest", "farthest from the camera"),
    "above": ("highest",),
    "below": ("lowest",),
    "wider": ("widest",),
    "thinner": ("thinnest", "narrowest"),
    "taller": ("tallest",),
    "shorter": ("shortest",),
    "bigger": ("largest", "biggest"),
    "smaller": ("smallest",),
}
EXTREME_LISTED = (
    "Which of {list} is the {w}?",
    "Which is the {w}, {list_or}?",
    "Among {list}, which one is the {w}?",
    "Out of {list}, which is the {w}?",
    "Which object is the {w}: {list_or}?",
    "Comparing {list}, which is the {w}?",
    "Tell me which is the {w}, {list_or}.",
    "Of {list}, which one is the {w}?",
)
EXTREME_KIND = (
    "Which {k} is the {w}?",
    "What is the {w} {k}?",
    "Which is the {w} {k}?",
    "Which of the {ks} is the {w}?",
    "Find the {w} {k}.",
    "Can you tell me which {k} is the {w}?",
    "Identify the {w} {k}.",
    "In this scene, which {k} is the {w}?",
)
RELATIVE_CHOICE = (
    "Is {a} {r} {to} {b} or {c}?",
    "Which is {r} {to} {a}, {b} or {c}?",
    "Which object is {r} {to} {a}, {b} or {c}?",
    "Which of {b} and {c} is {r} {to} {a}?",
    "Between {b} and {c}, which one is {r} {to} {a}?",
    "Of {b} and {c}, which is {r} {to} {a}?",
    "Can you tell me which is {r} {to} {a}, {b} or {c}?",
    "Comparing {b} and {c}, which one is {r} {to} {a}?",
)
RELATIVE_YES_NO = (
    "Is {a} {r} {to} {b} than {to} {c}?",
    "Is it true that {a} is {r} {to} {b} than {to} {c}?",
    "Would you say that {a} is {r} {to} {b} than {to} {c}?",
    "Can you confirm whether {a} is {r} {to} {b} than {to} {c}?",
)
RELATIVE_AMONG = (
    "Which object is {rest} {to} {a}?",
    "What is {rest} {to} {a}?",
    "Which of the objects is {rest} {to} {a}?",
    "Can you tell me which object is {rest} {to} {a}?",
)
DEPTH_ORDER = (
    "Sort {list} {how}.",
    "What is the depth order of {list} {how}?",
    "Order {list} {how}.",
    "Rank {list} {how}.",
    "Arrange {list} {how}.",
    "List {list} {how}.",
    "In what order do {list} appear {how}?",
    "Can you sort {list} {how}?",
)
NEAR_TO_FAR = (
    "from near to far",
    "from the nearest to the farthest",
    "from closest to farthest",
    "by depth",
    "by distance from the camera",
)
FAR_TO_NEAR = ("from far to near", "from the farthest to the nearest", "from farthest to closest")
SIZE = {
    "width": ("wide", "width"),
    "height": ("tall", "height"),
    "length": ("long", "length"),
    "thickness": ("thick", "thickness"),
}
SIZE_WORDINGS = (
    "What is the {n} of {a}{unit}?",
    "How {j} is {a}{unit}?",
    "What is {a}'s {n}{unit}?",
    "Can you tell me the {n} of {a}{unit}?",
    "Could you measure the {n} of {a}{unit}?",
    "What {n} does {a} have{unit}?",
    "Give me the {n} of {a}{unit}.",
    "What is the approximate {n} of {a}{unit}?",
    "Can you estimate the {n} of {a}{unit}?",
)
DISTANCE = (
    "How far is {a} from {b}{unit}?",
    "What is the distance between {a} and {b}{unit}?",
    "How far apart are {a} and {b}{unit}?",
    "What is the distance from {a} to {b}{unit}?",
    "How far away is {a} from {b}{unit}?",
    "Can you tell me the distance between {a} and {b}{unit}?",
    "Could you measure the distance between {a} and {b}{unit}?",
    "Give me the distance from {a} to {b}{unit}.",
    "What distance separates {a} and {b}{unit}?",
)
DISTANCE_TO_CAMERA = (
    "How far is {a}{unit}?",
    "How far away is {a}{unit}?",
    "How far is {a} from the camera{unit}?",
    "What is the distance from the camera to {a}{unit}?",
    "What is the distance between {a} and the camera{unit}?",
    "How far away is {a} from you{unit}?",
)
PLANAR_DISTANCE = (
    "What is the {v} distance between {a} and {b}{unit}?",
    "How far apart are {a} and {b} {v}ly{unit}?",
    "What is the {v} distance from {a} to {b}{unit}?",
    "Can you tell me the {v} distance between {a} and {b}{unit}?",
    "Could you measure the {v} distance from {a} to {b}{unit}?",
    "How far is {a} from {b} {v}ly{unit}?",
    "Give me the {v} distance between {a} and {b}{unit}.",
    "How much {v} distance is there between {a} and {b}{unit}?",
)
UNITS = {
    "m": ("", "", " in meters"),
    "cm": (" in centimeters", " in cm"),
    "mm": (" in millimeters", " in mm"),
    "ft": (" in feet",),
    "in": (" in inches",),
}
DIRECTION = (
    "If you are at {a}, where will you find {b}?",
    "If you are standing at {a}, where will you find {b}?",
    "Standing at {a}, in which direction is {b}?",
    "From {a}, at what o'clock is {b}?",
    "If you stand at {a}, at what clock position is {b}?",
    "At what o'clock is {b} from {a}?",
    "In which clock direction is {b} from {a}?",
    "When you are at {a}, in what direction will you find {b}?",
    "Where is {b} if you are at {a}?",
)
COUNT = (
    "How many {ks} are there?",
    "How many {ks} can you see?",
    "How many {ks} are in the scene?",
    "What is the number of {ks}?",
    "Count the {ks}.",
    "Can you count the {ks}?",
    "How many {ks} do you see?",
    "How many {ks} are visible?",
    "Can you tell me how many {ks} there are?",
)
MORE_WORDS = {
    "left": "farther to the left than", "right": "farther to the right than", "front": "closer to the camera than",
    "behind": "farther from the camera than", "wider": "wider than",
    "thinner": "narrower than", "taller": "taller than", "shorter": "shorter than", "bigger": "bigger than",
    "smaller": "smaller than", "longer": "longer than", "thicker": "thicker than",
}  # fmt: skip
"""What stands behind "how much" in a question for a difference."""
DIFFERENCE = (
    "How much {p} {b} is {a}{unit}?",
    "By how much is {a} {p} {b}{unit}?",
    "How much is {a} {p} {b}{unit}?",
    "Tell me how much {p} {b} {a} is{unit}.",
)
DIFFERENCE_VOLUME = (
    "How much {p} {b} is {a} in liters?",
    "By how many liters is {a} {p} {b}?",
    "By how much is {a} {p} {b} in liters?",
)
RELATIVE_DIFFERENCE = (
    "By how much is {a} {r} {to} {b} than {to} {c}{unit}?",
    "How much is {a} {r} {to} {b} than {to} {c}{unit}?",
)
EXISTS = (
    "Is there {an} in the scene?",
    "Is {an} in view?",
    "Are there any {ks}?",
    "Do you see any {ks}?",
    "Are any {ks} visible?",
    "Does {an} exist in this image?",
)
RELATION = RELATION_WORDS | {"between": "between"}
COUNT_BY_PLACE = (
    "How many {ks} are {p} {b}?",
    "How many {ks} are there {p} {b}?",
    "Count the {ks} {p} {b}.",
    "What is the number of {ks} {p} {b}?",
    "How many {ks} can you find {p} {b}?",
)
RELATED = (
    "What is {p} {b}?",
    "Which objects are {p} {b}?",
    "What can you find {p} {b}?",
    "Name everything {p} {b}.",
    "List the objects {p} {b}.",
    "Tell me what is {p} {b}.",
)
RELATED_KIND = (
    "Which {ks} are {p} {b}?",
    "Name the {ks} {p} {b}.",
    "List the {ks} that are {p} {b}.",
)
BETWEEN = (
    "Is {a} between {b} and {c}?",
    "Would you say that {a} is between {b} and {c}?",
    "Is {a} located between {b} and {c}?",
    "Tell me whether {a} is between {b} and {c}.",
)
GAP = (
    "How big is the gap between {a} and {b}{unit}?",
    "What is the gap between {a} and {b}{unit}?",
    "How wide is the gap between {a} and {b}{unit}?",
    "What is the clearance between {a} and {b}{unit}?",
    "Give me the gap between {a} and {b}{unit}.",
)
VOLUME = (
    "What is the volume of {a} in liters?",
    "What volume does {a} have?",
    "What is {a}'s volume?",
    "Estimate the volume of {a}.",
    "How many liters does {a} take up?",
)
LIMIT_WORDS = {"width": ("wider", "narrower"), "height": ("taller", "shorter"), "length": ("longer", "less long")}
LIMIT = (
    "Is {a} {w} than {x}?",
    "Would you say that {a} is {w} than {x}?",
    "Can you check whether {a} is {w} than {x}?",
    "Tell me if {a} is {w} than {x}.",
)
LIMIT_DISTANCE = (
    "Is {a} {w} than {x} from {b}?",
    "Is {a} {w} than {x} away from {b}?",
    "Are {a} and {b} {w} than {x} apart?",
    "Is the distance between {a} and {b} {w} than {x}?",
)
FIT = {
    "grip": (
        "Can a gripper with an opening of {x} hold {a}?",
        "Would a {x} gripper be able to pick up {a}?",
        "Does {a} fit into a gripper that is {x} wide?",
        "Can you pick up {a} with a gripper of {x}?",
    ),
    "gap": (
        "Does {a} fit through a gap of {x}?",
        "Would {a} fit through an opening of {x}?",
        "Can {a} pass through a {x} gap?",
    ),
    "under": (
        "Does {a} fit under a shelf that is {x} high?",
        "Would {a} fit under a {x} high shelf?",
    ),
}
FIT_INTO = (
    "Does {a} fit into {b}?",
    "Would {a} fit inside {b}?",
    "Can {a} be put into {b}?",
    "Is {a} small enough to fit into {b}?",
)
POSITION = (
    "Where is {a}?",
    "Where can I find {a}?",
    "Tell me where {a} is.",
    "Whereabouts is {a}?",
    "Where should I look for {a}?",
)
BEARING = (
    "At what o'clock is {a}?",
    "In which clock direction is {a}?",
    "At what clock position do you see {a}?",
)
BEARING_DEGREES = (
    "How many degrees to the side is {a}?",
    "At what angle is {a}?",
    "At how many degrees do you see {a}?",
    "What is the bearing of {a} in degrees?",
)
ORDER = (
    "Sort {list} {how}.",
    "Order {list} {how}.",
    "Rank {list} {how}.",
    "Arrange {list} {how}.",
    "List {list} {how}.",
)
ORDER_HOW = {
    "left": ("from left to right",),
    "right": ("from right to left",),
    "shorter": ("from shortest to tallest",),
    "taller": ("from tallest to shortest",),
    "smaller": ("from smallest to largest",),
    "bigger": ("from largest to smallest", "from biggest to smallest"),
    "wider": ("from widest to narrowest",),
    "thinner": ("from narrowest to widest",),
    "below": ("from lowest to highest",),
    "above": ("from highest to lowest",),
}
IS_EXTREME = (
    "Is {a} the {w} {k}?",
    "Would you say that {a} is the {w} {k}?",
    "Tell me whether {a} is the {w} {k}.",
)
SECOND = (
    "Which is the second {w} {k}?",
    "What is the second {w} {k}?",
    "Find the second {w} {k}.",
)

COMPARATIVE = {
    "wider": "wider than", "thinner": "narrower than", "taller": "taller than", "shorter": "shorter than",
    "bigger": "bigger than", "smaller": "smaller than", "longer": "longer than",
}  # fmt: skip
"""A comparison in a clause: "mugs that are taller than the box"."""
COUNT_DESCRIBED = (
    "How many {ks} are {p}?",
    "How many of the {ks} are {p}?",
    "Tell me how many {ks} are {p}.",
    "Could you tell me how many {ks} are {p}?",
)
WHICH_DESCRIBED = (
    "Which {ks} are {p}?",
    "Which of the {ks} are {p}?",
    "Tell me which {ks} are {p}.",
    "Can you tell me which {ks} are {p}?",
)
WHICH_ANYTHING = (
    "What is {p}?",
    "Which objects are {p}?",
    "Which things are {p}?",
    "Tell me what is {p}.",
)
EXISTS_DESCRIBED = (
    "Is there {an} {p}?",
    "Is there {an} that is {p}?",
    "Do you see {an} that is {p}?",
    "Can you see {an} {p}?",
    "Is any {k} {p}?",
)
ANY_DESCRIBED = (
    "Is any {k} {p}?",
    "Would you say that any {k} is {p}?",
    "Tell me whether any {k} is {p}.",
)
ANYTHING_DESCRIBED = (
    "Is anything {p}?",
    "Can you tell me whether anything is {p}?",
    "Tell me whether anything is {p}.",
)
ALL = (
    "Are all {ks} {p}?",
    "Are all the {ks} {p}?",
    "Are all of the {ks} {p}?",
    "Is every {k} {p}?",
    "Is each {k} {p}?",
    "Would you say that all {ks} are {p}?",
    "Is it true that every {k} is {p}?",
    "Tell me whether all the {ks} are {p}.",
)
ALL_ANYTHING = (
    "Is everything {p}?",
    "Are all objects {p}?",
    "Is every object {p}?",
    "Is it true that all objects are {p}?",
    "Tell me whether everything is {p}.",
)
COUNT_EXCEPT = (
    "How many {ks} are there except {b}?",
    "How many {ks} are there besides {b}?",
    "How many {ks} other than {b} are there?",
    "How many {ks} are there, not counting {b}?",
    "Count all {ks} except {b}.",
    "Count the {ks} other than {b}.",
)
WHICH_EXCEPT = (
    "List all {ks} except {b}.",
    "Name all {ks} except for {b}.",
    "Show me all {ks} but {b}.",
    "List all {ks} other than {b}.",
)
EXTREME_EXCEPT = (
    "What is the {w} {k} other than {b}?",
    "What is the {w} {k} except {b}?",
    "Which is the {w} {k} apart from {b}?",
    "Which is the {w} {k} besides {b}?",
    "Find the {w} {k} other than {b}.",
    "Tell me which is the {w} {k} excluding {b}.",
)
EXISTS_EXCEPT = (
    "Are there any {ks} other than {b}?",
    "Are there any {ks} besides {b}?",
    "Do you see any {ks} except {b}?",
    "Can you see any {ks} apart from {b}?",
)
COUNT_NOT = (
    "How many {ks} are not {p}?",
    "How many of the {ks} are not {p}?",
    "Count the {ks} that are not {p}.",
    "Tell me how many {ks} are not {p}.",
)
WHICH_NOT = (
    "Which {ks} are not {p}?",
    "Which of the {ks} are not {p}?",
    "List the {ks} that are not {p}.",
)
AS_MANY = {
    "exactly": (
        "Are there {n} {ks}?",
        "Do you see exactly {n} {ks}?",
        "Are there exactly {n} {ks} in the scene?",
    ),
    "at_least": ("Are there at least {n} {ks}?", "Can you see at least {n} {ks}?"),
    "at_most": ("Are there at most {n} {ks}?", "Are there no more than {n} {ks}?"),
    "more": ("Are there more than {n} {ks}?", "Do you see more than {n} {ks}?"),
    "less": ("Are there fewer than {n} {ks}?", "Do you see fewer than {n} {ks}?"),
}
LENGTHS = {
    5: "five centimeters", 10: "ten centimeters", 15: "fifteen centimeters", 20: "twenty centimeters",
    25: "twenty five centimeters", 30: "thirty centimeters", 40: "forty centimeters", 50: "half a meter",
    60: "sixty centimeters", 100: "a meter", 150: "one and a half meters",
}  # fmt: skip
"""Lengths in words, by their centimetres."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAME = (
    "Is {a} as {j} as {b}?",
    "Would you say that {a} is as {j} as {b}?",
    "Are {a} and {b} equally {j}?",
    "Are {a} and {b} as {j} as each other?",
    "Is {a} the same {n} as {b}?",
    "Are {a} and {b} the same {n}?",
    "Do {a} and {b} have the same {n}?",
    "Does {a} have the same {n} as {b}?",
    "Are {a} and {b} of the same {n}?",
    "Tell me whether {a} is the same {n} as {b}.",
)
SAME_WORDS = {
    "width": (("wide",), ("width",)),
    "height": (("tall",), ("height",)),
    "length": (("long", "deep"), ("length",)),
    "thickness": (("thick",), ("thickness",)),
    "dimensions": (("big", "large"), ("size",)),
}
"""Adjectives and nouns of what two objects may have in common."""
FIT_BETWEEN = (
    "Does {a} fit between {b} and {c}?",
    "Would {a} fit between {b} and {c}?",
    "Can {a} be put between {b} and {c}?",
    "Is the gap between {b} and {c} wide enough for {a}?",
    "Is there enough space between {b} and {c} for {a}?",
)
DIMENSIONS = (
    "What are the dimensions of {a}{unit}?",
    "How big is {a}{unit}?",
    "What size is {a}{unit}?",
    "What is the size of {a}{unit}?",
    "Can you tell me the dimensions of {a}{unit}?",
    "Give me the dimensions of {a}{unit}.",
)
POSITION_FROM = (
    "Where is {a} relative to {b}?",
    "Where is {a} with respect to {b}?",
    "What is the position of {a} relative to {b}?",
    "Tell me where {a} is relative to {b}.",
)
IS_NEAREST = (
    "Is {b} the {rest} object {to} {a}?",
    "Is {b} the {rest} thing {to} {a}?",
    "Would you say that {b} is the {rest} object {to} {a}?",
)
LIMIT_BOUND = {
    "at_least": ("Is {a} at least {x} {j}?", "Would you say that {a} is at least {x} {j}?"),
    "at_most": ("Is {a} at most {x} {j}?", "Tell me whether {a} is at most {x} {j}."),
}
LIMIT_WITHIN = (
    "Is {a} within {x} of {b}?",
    "Is {a} at most {x} away from {b}?",
    "Tell me whether {a} is within {x} of {b}.",
)
LIMIT_GAP = (
    "Is the gap between {a} and {b} {w} than {x}?",
    "Is there {w} than {x} between {a} and {b}?",
)
ORDER_KIND = (
    "Sort the {ks} {how}.",
    "Order the {ks} {how}.",
    "List the {ks} {how}.",
    "Arrange all {ks} {how}.",
)


def with_article(noun: str) -> str:
    """`a red car`, `an orange box`."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
