"""How questions are worded: at least eight ways for each type.

`{a}`, `{b}`, `{c}` are objects with their article ("the red mug"), `{list}` several of them, `{k}` a kind of object,
`{p}` a relation ("to the left of", "wider than"), `{q}` the opposite one, `{w}` what one of two or more is ("wider",
"widest"), `{unit}` nothing or " in inches". A question is one sentence: the second pass sees no more than the first.
"""

from __future__ import annotations

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
    "How much space is there between {a} and {b}{unit}?",
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
