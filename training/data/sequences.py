"""Turns a cached scene into the input of a training step: image, point coordinates, packed questions, dense targets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from n3d_core.depth import clean_depth
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame_folder import TrueObject
from n3d_core.geometry.points import normalise, to_model_frame
from n3d_core.language import prompts
from n3d_core.language.structured import BoxCode, BoxCodec, serialise
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.config import N3DConfig
from n3d_core.network.plan import image_plan, text_positions
from n3d_core.network.preprocess import patch_grid, patchify, point_coordinates, resize_for_model
from training.data.packing import IGNORE, Packed, Pointer, Segment, pack
from training.learn.codecs import UNMEASURED
from training.learn.dense import DenseTargets, dense_targets, nothing_dense
from training.learn.losses import DEPTHS, FRACTIONS, fraction_ids
from training.scenes.cache import CachedScene
from training.scenes.catalogue import CLASSES
from training.scenes.colors import COLORS
from training.scenes.scene import is_groundable

_Z = 2  # index of z among the numbers of a box line
_COMPARISON, _THOUGHT_END = " Since ", "</think>"


@dataclass(frozen=True)
class LabelledObject:
    """An object in a training image: words, class and colour numbers (from 1), box, and whether it can be asked for."""

    cls: str
    color: str
    class_number: int
    color_number: int
    box: Box3D
    instance: int
    groundable: bool

    @property
    def label(self) -> str:
        return f"{self.color} {self.cls}"


@dataclass(frozen=True)
class LabelledImage:
    """One view: RGB uint8 [H, W, 3], depth float32 [H, W] metres (NaN invalid), instances [H, W], camera, objects."""

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instances: NDArray[np.uint8]
    camera: Camera
    objects: list[LabelledObject]


@dataclass(frozen=True)
class TrainingSample:
    """The training input from one image.

    Attributes:
        grid: height and width of the patch grid.
        pointed: [N] sequence positions that point at objects, or at none.
        shares: [N, tokens + 1] target attention of each over the image tokens and nowhere (the last entry).
    """

    grid: tuple[int, int]
    patches: NDArray[np.float32]
    coordinates: NDArray[np.float32]
    packed: Packed
    dense: DenseTargets
    pointed: NDArray[np.int64]
    shares: NDArray[np.float32]


def augment(image: LabelledImage, rng: np.random.Generator) -> LabelledImage:
    """Mirrors, crops and recolours, keeping boxes, depth and intrinsics consistent."""
    if rng.random() < 0.5:
        image = _mirrored(image)
    if rng.random() < 0.5:
        image = _cropped(image, rng)
    gain, offset = rng.uniform(0.7, 1.3) * rng.uniform(0.91, 1.09, size=3), rng.uniform(-12, 12)
    curves = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
    return replace(image, color=cv2.LUT(image.color, curves[None]))


def _mirrored(image: LabelledImage) -> LabelledImage:
    camera = replace(image.camera, cx=image.camera.width - 1 - image.camera.cx)
    objects = [
        replace(o, box=replace(o.box, center=(-o.box.center[0], o.box.center[1], o.box.center[2])))
        for o in image.objects
    ]
    flipped = (np.ascontiguousarray(a[:, ::-1]) for a in (image.color, image.depth, image.instances))
    return LabelledImage(*flipped, camera, objects)


def _cropped(image: LabelledImage, rng: np.random.Generator) -> LabelledImage:
    height, width = image.depth.shape
    share = rng.uniform(0.75, 1.0)
    w, h = int(width * share), int(height * share)
    # half the crops are anywhere, which moves the principal point, half are centred, like a zoom
    spread = 0.03 if rng.random() < 0.5 else 0.5
    left, top = (
        int(np.clip(free / 2 + rng.uniform(-spread, spread) * side, 0, free))
        for free, side in ((width - w, width), (height - h, height))
    )
    window = np.s_[top : top + h, left : left + w]
    color = cv2.resize(image.color[window], (width, height), interpolation=cv2.INTER_LINEAR)
    depth = cv2.resize(image.depth[window], (width, height), interpolation=cv2.INTER_NEAREST)
    instances = cv2.resize(image.instances[window], (width, height), interpolation=cv2.INTER_NEAREST)
    camera = image.camera.cropped(left, top, w, h).resized(width, height)
    before = np.bincount(image.instances.ravel(), minlength=256)
    inside = np.bincount(image.instances[window].ravel(), minlength=256)
    objects = []
    for o in image.objects:
        u, v = camera.project(np.asarray(o.box.center))
        kept = inside[o.instance] >= 0.5 * max(before[o.instance], 1) and inside[o.instance] > 0
        objects.append(replace(o, groundable=o.groundable and bool(kept) and 0 <= u < width and 0 <= v < height))
    return LabelledImage(color, depth, instances, camera, objects)


class SampleMaker:
    """Turns labelled images into samples for one model and tokenizer.

    Args:
        tokens: longest packed sequence.
        text_weight: loss weight of each word of a thought or answer; a number has 1.
        depth: whether the model sees the points.
        depth_weight: of the loss of z among the numbers of a box.
        codec: how boxes are written.
        auxiliary: whether to make targets for the auxiliary heads.
    """

    def __init__(
        self,
        config: N3DConfig,
        tokenizer: Tokenizer,
        tokens: int,
        text_weight: float = 1.0,
        depth: bool = True,
        codec: type[BoxCodec] = BoxCodec,
        depth_weight: float = 1.0,
        auxiliary: bool = True,
    ) -> None:
        self.depth_weight, self.auxiliary = depth_weight, auxiliary
        self.text_weight, self.depth, self.codec = text_weight, depth, codec
        self.config = config
        self.tokenizer = tokenizer
        self.tokens = tokens
        self.comma = tokenizer.encode(",")[0]
        self.newline = tokenizer.encode("\n")[0]
        self.quote = tokenizer.encode("'")[0]
        self.reference = tokenizer.encode(prompts.REFERENCE)[0]
        self.open = tokenizer.encode("bbox_0=Bbox(")[-1]
        self.end = tokenizer.id_of(prompts.TURN_END)
        numbers = [tokenizer.encode(str(v)) for v in range(1000)]
        whole = all(len(n) == 1 for n in numbers)
        self.bin_of = {n[0]: v for v, n in enumerate(numbers)} if whole else {}
        self.point = tokenizer.encode("0.1")[1]
        self.fraction_of = {n: FRACTIONS + v for v, n in enumerate(fraction_ids(tokenizer))} if self.bin_of else {}
        self.prefix = tokenizer.encode(prompts.PREFIX)

    def make(self, image: LabelledImage, questions: list[Question], decision: float) -> TrainingSample:
        """Encodes image and questions; questions that do not fit are left out."""
        depth, _ = clean_depth(image.depth)  # cleaned like every frame that the model sees
        valid = np.isfinite(depth)
        normalised, normalisation = normalise(to_model_frame(image.camera.back_project(depth)), valid)
        if not self.depth:
            normalisation = UNMEASURED
        sized = np.asarray(resize_for_model(Image.fromarray(image.color), self.config))
        patches, grid_h, grid_w = patchify(sized, self.config.vision)
        coordinates = point_coordinates(normalised, valid, grid_h, grid_w, self.config)
        if not self.depth:
            coordinates = np.zeros_like(coordinates)
        codes = [self.codec(normalisation, image.camera).encode(o.box) for o in image.objects]
        packed = self._packed(grid_h, grid_w, questions, codes, decision)
        merge = self.config.vision.spatial_merge_size
        dense = nothing_dense(grid_h * grid_w // merge**2)
        pointers: list[Pointer] = []
        if self.auxiliary:
            in_image = BoxCodec(normalisation, image.camera)
            dense = dense_targets(
                image.instances,
                [in_image.encode(o.box) for o in image.objects],
                [o.class_number for o in image.objects],
                [o.color_number for o in image.objects],
                (grid_h, grid_w),
                merge,
            )
            pointers = packed.pointers
        return TrainingSample(
            (grid_h, grid_w), patches, coordinates, packed, dense, *pointer_shares(pointers, dense.coverage)
        )

    def _packed(
        self, grid_h: int, grid_w: int, questions: list[Question], codes: list[BoxCode], decision: float
    ) -> Packed:
        plan = image_plan(self.config, grid_h, grid_w)
        start = len(self.prefix)
        image_positions, following = plan.mrope_positions(start)
        before_image = text_positions(0, start)
        ids = self.prefix + [self.config.image_token_id] * plan.tokens
        segments = [self._segment(question, codes, decision) for question in questions]
        segments = [segments[i] for i in self.fitting(len(ids), [len(segment) for segment in segments])]
        return pack(ids, np.concatenate([before_image, image_positions], axis=1), following, segments)

    def fitting(self, taken: int, lengths: Sequence[int]) -> list[int]:
        """Indices of the questions that a row has room for, in their order.

        Args:
            taken: tokens of the system prompt and the image.
            lengths: tokens of each question.
        """
        chosen = []
        for index, length in enumerate(lengths):
            if taken + length <= self.tokens:
                chosen.append(index)
                taken += length
        return chosen

    def lengths(self, image: LabelledImage, questions: list[Question]) -> tuple[int, list[int]]:
        """Tokens of the system prompt and the image, and of each question about it."""
        grid_h, grid_w = patch_grid(image.camera.width, image.camera.height, self.config)
        codec = self.codec(UNMEASURED, image.camera)  # numbers of any size take as many tokens, or nearly
        codes = [codec.encode(o.box) for o in image.objects]
        taken = len(self.prefix) + image_plan(self.config, grid_h, grid_w).tokens
        return taken, [len(self._segment(question, codes, 1.0)) for question in questions]

    def _segment(self, question: Question, codes: list[BoxCode], decision: float) -> Segment:
        prompt = self.tokenizer.encode(f"{prompts.VISION_END}{question.prompt}{prompts.SUFFIX}")
        if question.reply is not None:
            reply, weights, bins = self._text_targets(question, question.reply, decision)
            silent: list[Pointer] = [None] * (len(prompt) + len(reply))
            return Segment(prompt, reply, weights, bins, silent)
        lines = [replace(codes[i], label=label) for i, label in question.boxes]
        objects = [i for i, _ in question.boxes]
        reply = [*self.tokenizer.encode(serialise(lines)), self.end]
        weights, bins, deciding = self._box_targets(reply, objects, decision)
        return Segment(prompt, reply, weights, bins, self._asking(prompt, objects)[:-1] + deciding + [None])

    def _text_targets(self, question: Question, text: str, decision: float) -> tuple[list[int], list[float], list[int]]:
        """Ids, weights and bins of a thought and answer.

        Most words of a thought are repeated or follow a pattern. The informative ones are its comparisons and
        conclusions, weighted like decisions, and its numbers.
        """
        whole, given = question.given + text, len(question.given)
        since = whole.find(_COMPARISON, given)
        end = whole.find(_THOUGHT_END, since)
        conclusion = range(since, end if end >= 0 else len(whole)) if since >= 0 else range(0)
        ids, starts = self.tokenizer.encode_with_starts(whole)
        words = self.text_weight
        weights = [
            question.given_weight if start < given else decision if start in conclusion else words for start in starts
        ]
        known = sum(start < given for start in starts)
        ids.append(self.end)
        weights.append(words)
        bins = self._value_bins(ids)
        for i in range(known, len(ids)):
            if bins[i] != IGNORE:
                weights[i] = max(weights[i], 1.0)
        return ids, weights, bins

    def _value_bins(self, reply: list[int]) -> list[int]:
        """Bins of the numbers of a thought for which a neighbour is nearly right.

        These are hundredths after a decimal point, and integers that are neither an object's index nor an hour.
        """
        bins = []
        for before, token in itertools.pairwise([self.end, *reply]):
            value = self.bin_of.get(token, IGNORE)
            whole = value if value > 12 else IGNORE
            bins.append(self.fraction_of.get(token, IGNORE) if before == self.point else whole)
        return bins

    def _asking(self, prompt: list[int], objects: list[int]) -> list[Pointer]:
        """Pointers of a prompt to all queried objects: at the end of a quoted phrase, and after the question."""
        asked: Pointer = tuple(sorted(set(objects)))
        end = prompt.index(self.reference) if self.reference in prompt else len(prompt)
        pointers: list[Pointer] = [None] * end + [asked] * (len(prompt) - end)
        quotes = [i for i in range(end) if prompt[i] == self.quote]
        if quotes:
            pointers[quotes[-1] - 1] = pointers[quotes[-1]] = asked
        return pointers

    def _box_targets(
        self, reply: list[int], objects: list[int], decision: float
    ) -> tuple[list[float], list[int], list[Pointer]]:
        """Weights, bins and deciding objects of the ids of a reply of boxes.

        Bins are the numbers that follow a comma. The choice between one more box and the end, made at the first token
        and at each newline, weighs more than a word. Tokens forced by the grammar weigh little. With digit tokenizers
        all tokens weigh the same.
        """
        if not self.bin_of:
            return [1.0] * len(reply), [IGNORE] * len(reply), [None] * len(reply)
        weights: list[float] = []
        bins: list[int] = []
        pointers: list[Pointer] = []
        line, inside, number = 0, False, 0
        for i, token in enumerate(reply):
            value = self.bin_of.get(token, IGNORE) if i and reply[i - 1] == self.comma else IGNORE
            choice = i == 0 or token in (self.newline, self.end)
            line += token == self.newline
            decided = choice or value != IGNORE or (inside and token != self.comma)
            is_z = value != IGNORE and number == _Z
            of_number = self.depth_weight if is_z else 1.0
            weights.append(decision if choice else of_number if value != IGNORE else 0.3 if decided else 0.05)
            bins.append(value + DEPTHS if is_z else value)
            number = 0 if token == self.newline else number + (value != IGNORE)
            pointers.append((() if token == self.end else (objects[line],)) if decided else None)
            inside = token == self.open or (inside and token != self.comma)
        return weights, bins, pointers


def pointer_shares(
    pointers: list[Pointer], coverage: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Positions [N] and shares [N, tokens + 1]; objects without visible pixels count as nowhere."""
    places = [i for i, objects in enumerate(pointers) if objects is not None]
    shares = np.zeros((len(places), coverage.shape[1] + 1), dtype=np.float32)
    for row, place in enumerate(places):
        objects = pointers[place]
        if objects:
            shares[row, :-1] = coverage[list(objects)].mean(axis=0)
        shares[row, -1] = max(0.0, 1 - float(shares[row].sum()))
    return np.array(places, dtype=np.int64), shares


@dataclass(frozen=True)
class Question:
    """A prompt and the expected reply: boxes (object index and label to write), or a text.

    Attributes:
        prompt: what follows the image in the user turn.
        boxes: objects in the order of the reply.
        reply: the reply's text, for questions that are not answered by boxes.
        given: the beginning of the reply, which only repeats known facts; `reply` continues it.
        given_weight: loss weight of each of its tokens; 0 to ignore them.
        kind: what it counts as in `training.data.lengths`: a kind of the mixture, and the type of a spatial question.
    """

    prompt: str
    boxes: tuple[tuple[int, str], ...] = ()
    reply: str | None = None
    given: str = ""
    given_weight: float = 0.0
    kind: str = field(default="", compare=False)


def from_cache(scene: CachedScene) -> LabelledImage:
    """A labelled image of a cached scene."""
    depth = scene.depth_mm.astype(np.float32) / 1000
    depth[scene.depth_mm == 0] = np.nan
    objects = []
    for index, (c, k) in enumerate(zip(scene.class_ids.tolist(), scene.color_ids.tolist(), strict=True)):
        center, size = scene.centers[index].tolist(), scene.sizes[index].tolist()
        item = TrueObject(
            Box3D(f"{COLORS[k]} {CLASSES[c]}", center, size), CLASSES[c], COLORS[k], float(scene.visible[index])
        )
        objects.append(
            LabelledObject(item.cls, item.color, c + 1, k + 1, item.box, index + 1, is_groundable(item, scene.camera))
        )
    return LabelledImage(scene.color, depth, scene.instances, scene.camera, objects)
