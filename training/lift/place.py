"""Whether a picture was taken indoors or outdoors, by the classes of its objects: depth models are made for either."""

from __future__ import annotations

from collections.abc import Iterable

from n3d_core.reasoning.lexicon import singulars

INDOOR = frozenset((
    "couch", "sofa", "bed", "dining table", "toilet", "tv", "television", "laptop", "mouse", "remote", "keyboard",
    "microwave", "oven", "toaster", "sink", "refrigerator", "vase", "hair drier", "toothbrush", "book", "wine glass",
    "cup", "fork", "knife", "spoon", "bowl", "mug", "plate", "teddy bear", "bathtub", "desk", "lamp", "cabinet",
    "bookcase", "shelf", "mirror", "pillow", "curtain", "monitor", "computer monitor", "cabinet/shelf", "countertop",
    "kitchen appliance", "nightstand", "wardrobe", "carpet", "faucet", "stove", "ceiling fan",
))  # fmt: skip
OUTDOOR = frozenset((
    "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light", "fire hydrant",
    "stop sign", "horse", "sheep", "parking meter", "cow", "elephant", "bear", "zebra", "giraffe", "frisbee", "skis",
    "snowboard", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "bird", "bench", "tree",
    "palm tree", "street light", "traffic sign", "building", "house", "skyscraper", "van", "suv", "pickup truck",
    "sailboat", "ship", "license plate", "tower", "tent", "helicopter", "crosswalk", "traffic cone",
))  # fmt: skip
"""Classes of COCO, Objects365 and OpenImages that are seen in one of the two; people, chairs and plants are in both."""

PLACES = {
    "indoor": "more classes of rooms than of streets and fields",
    "outdoor": "more classes of streets and fields than of rooms",
    "undecided": "as many of either, or none: models.depth, as indoors",
}


def place_of(labels: Iterable[str]) -> str:
    """`indoor`, `outdoor` or `undecided`: where more classes belong; how many objects each has does not matter."""
    classes = {name for label in labels for name in (label.lower(), *singulars(label.lower()))}
    inside, outside = len(classes & INDOOR), len(classes & OUTDOOR)
    return "undecided" if inside == outside else "indoor" if inside > outside else "outdoor"
