"""`n3d annotate BAG --query "mug; bottle" --output BAG`: detections, markers and answers in a copy of a bag."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from n3d_core.cli.query import add_model_arguments, check_timeout, load_model, tell
from n3d_core.depth import DepthUnit
from n3d_core.errors import (
    BagError,
    CameraError,
    ConfigError,
    DepthError,
    ImageError,
    QueryTimeoutError,
    TransformError,
)

if TYPE_CHECKING:
    from n3d_core.n3d import N3D
    from n3d_core.recordings.annotation import Annotations, Journal, MessageWriter
    from n3d_core.recordings.bag import Bag, RgbdTopicNames

DESCRIPTION = """\
Runs queries on the images of an RGB-D bag and writes the results into a copy of it: detections, markers for RViz, and
answers. The source is only read. An interrupted run continues where it stopped when its command is repeated."""
_SAY_EVERY_S = 2.0
_UNUSABLE = (ImageError, DepthError, CameraError, TransformError, QueryTimeoutError)  # of one image; the run goes on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("bag", type=Path, metavar="BAG", help="ROS 2 bag: a folder, or an .mcap or .db3 file")
    parser.add_argument("--output", type=Path, required=True, metavar="BAG", help="the copy; must not exist")
    parser.add_argument(
        "--query", action="append", default=[], metavar="TEXT", help="what to find, as in `n3d ground`; may be repeated"
    )
    parser.add_argument(
        "--ask",
        action="append",
        default=[],
        metavar="QUESTION",
        help="as in `n3d ask`; may be repeated",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use every Nth image (1)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="use at most N images (all)")
    parser.add_argument(
        "--namespace", default="/grounding", metavar="NAME", help="of the topics written (/grounding, like the node's)"
    )
    parser.add_argument("--color", default="", metavar="TOPIC", help="colour images (default: found by their encoding)")
    parser.add_argument("--depth", default="", metavar="TOPIC", help="depth images (default: found by their encoding)")
    parser.add_argument("--depth-unit", default="", metavar="UNIT", help="mm, m, or values per metre (the encoding's)")
    parser.add_argument("--min-score", type=float, metavar="SHARE", help="minimum score of boxes, 0 to 1 (the model's)")
    add_model_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    """Annotates one bag."""
    _check(args)
    from n3d_core.recordings.annotation import Journal, MessageWriter, copy_annotated

    bag = _opened(args)
    names = bag.rgbd_topics(args.color, args.depth)
    times = bag.frame_times(names)[:: args.every][: args.limit or None]
    settings = _settings(args, bag, names, len(times))
    part = args.output.with_name(f"{args.output.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(part / "lock", timeout=0):
            journal, writer = Journal(part / "journal.jsonl", settings), MessageWriter()
            _Annotator(args, bag, names, writer, journal).run(times)
            reasons = [one.skipped for one in journal.done.values()]
            if reasons and all(reasons):
                shutil.rmtree(part, ignore_errors=True)
                raise BagError(f"{args.bag}: none of its {len(times)} images can be used; the first: {reasons[0]}")
            count = copy_annotated(bag, args.output, part, journal.done, args.namespace, writer)
    except Timeout as busy:
        raise ConfigError(f"another `n3d annotate` is writing {args.output}: wait for it") from busy
    shutil.rmtree(part, ignore_errors=True)
    skipped = sum(map(bool, reasons))
    print(
        f"{args.output}: {count} messages, {len(times) - skipped} images annotated"
        + (f"; {skipped} skipped" if skipped else "")
    )
    return 0


def _opened(args: argparse.Namespace) -> Bag:
    """The bag to annotate.

    Raises:
        ConfigError: if it is a ROS 1 bag, or already has topics of the namespace.
    """
    from n3d_core.recordings.bag import Bag

    bag = Bag(args.bag)
    if not bag.is_ros2:
        raise ConfigError(
            f"{args.bag} is a ROS 1 bag: convert it first, as in rosbags-convert --src {args.bag} --dst "
            f"{args.bag.with_suffix('')}-ros2"
        )
    taken = [topic for topic in bag.types if topic.startswith(f"{args.namespace}/")]
    if taken:
        raise ConfigError(f"{args.bag} already has {', '.join(taken)}: give another --namespace")
    return bag


def _settings(args: argparse.Namespace, bag: Bag, names: RgbdTopicNames, images: int) -> dict[str, Any]:
    """Everything that the results depend on: an interrupted run continues only with the same."""
    from n3d_core.backends.store import model_digest
    from n3d_core.models import find_model

    return {
        "bag": [str(args.bag.resolve()), bag.duration_ns, images],
        "query": args.query,
        "ask": args.ask,
        "every": args.every,
        "topics": [names.color, names.depth],
        "depth-unit": args.depth_unit,
        "min-score": args.min_score,
        "model": model_digest(find_model(args.model)),
        "sampling": [args.sampling, args.seed],
        "image-size": args.image_size,
    }


class _Annotator:
    """Runs the queries on each image that is not in the journal yet."""

    def __init__(
        self, args: argparse.Namespace, bag: Bag, names: RgbdTopicNames, writer: MessageWriter, journal: Journal
    ) -> None:
        self._args, self._bag, self._names = args, bag, names
        self._writer, self._journal = writer, journal
        self._model: N3D | None = None

    def run(self, times: list[tuple[int, int | None]]) -> None:
        """Fills the journal."""
        args, done = self._args, self._journal.done
        left = [(color_ns, depth_ns) for color_ns, depth_ns in times if color_ns not in done]
        if len(left) < len(times):
            tell(args, f"{len(times) - len(left)} of {len(times)} images are already done")
        start = said = time.monotonic()
        for number, (color_ns, depth_ns) in enumerate(left):
            self._journal.add(self._annotations(color_ns, depth_ns))
            now = time.monotonic()
            if now - said >= _SAY_EVERY_S or number + 1 == len(left):
                said, each = now, (now - start) / (number + 1)
                tell(
                    args,
                    f"{len(times) - len(left) + number + 1} of {len(times)} images, {each:.2f} s each, "
                    f"{each * (len(left) - number - 1):.0f} s left",
                )

    def _annotations(self, color_ns: int, depth_ns: int | None) -> Annotations:
        from n3d_core.messages.assembly import FrameOptions
        from n3d_core.recordings.annotation import Annotations, annotate_frame

        if depth_ns is None:
            return Annotations(color_ns, skipped="no depth image near it")
        try:
            frame = self._bag.frame(self._names, color_ns, depth_ns, FrameOptions(depth_unit=self._args.depth_unit))
            self._model = self._model or load_model(self._args)
            view = self._model.look(frame)
            grounding = None
            if self._args.query:
                text = "; ".join(self._args.query)
                grounding = view.ground(text, min_score=self._args.min_score, deadline=self._deadline())
            answers = [view.ask(question, deadline=self._deadline()) for question in self._args.ask]
        except _UNUSABLE as error:
            tell(self._args, f"skipped the image at {color_ns / 1e9:.3f} s: {error}")
            return Annotations(color_ns, skipped=str(error))
        return annotate_frame(self._writer, color_ns, frame, grounding, answers)

    def _deadline(self) -> float | None:
        return None if self._args.timeout is None else time.monotonic() + self._args.timeout


def _check(args: argparse.Namespace) -> None:
    if not args.query and not args.ask:
        raise ConfigError("nothing to do: give --query TEXT, --ask QUESTION, or both")
    for option, texts in (("--query", args.query), ("--ask", args.ask)):
        if not all(text.strip() for text in texts):
            raise ConfigError(f"{option} must not be empty")
    if args.every < 1 or args.limit < 0:
        raise ConfigError(f"--every must be at least 1 and --limit at least 0; got {args.every} and {args.limit}")
    if args.min_score is not None and not 0 <= args.min_score <= 1:
        raise ConfigError(f"--min-score must be from 0 to 1; got {args.min_score}")
    if args.depth_unit:
        DepthUnit.parse(args.depth_unit)
    if not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", args.namespace):
        raise ConfigError(f"--namespace must be an absolute ROS name, such as /grounding; got {args.namespace!r}")
    if os.path.lexists(args.output):
        raise ConfigError(f"--output {args.output} already exists: give a new path")
    if not args.output.absolute().parent.is_dir():
        raise ConfigError(f"--output {args.output}: the folder {args.output.absolute().parent} does not exist")
    check_timeout(args)
