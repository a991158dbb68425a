"""The second stage: networks add what the source lacks: objects, then depth and intrinsics, then masks."""

from __future__ import annotations

from dataclasses import replace

from n3d_core.depth.monocular import DepthEstimate, MonocularDepth, load_monocular
from n3d_core.errors import CameraError, DepthError, N3DError
from training.lift.boxes import overlap_2d
from training.lift.lift_config import ModelsConfig
from training.lift.lifting import Candidate
from training.lift.models.grounding_dino import Detector
from training.lift.models.sam2 import Sam2Segmenter
from training.lift.observation import Observation, check_depth, with_masks_from_depth
from training.lift.place import place_of
from training.lift.problems import ImageProblem
from training.lift.record import Annotation


class Perception:
    """The networks of a run; without a segmenter, objects are segmented by depth."""

    def __init__(self, config: ModelsConfig) -> None:
        self._config = config
        self._detector = (
            Detector(config.detector, config.classes, config.detect_score, config.device) if config.detector else None
        )
        self._depth: MonocularDepth | None = load_monocular(config.depth, config.device) if config.depth else None
        self._outdoor = load_monocular(config.outdoor_depth, config.device) if config.outdoor_depth else None
        self._segmenter = Sam2Segmenter(config.segmenter, config.device) if config.segmenter else None

    def __call__(self, seen: list[Observation]) -> list[Observation | ImageProblem]:
        """Completes observations in place; returns each, or its problem if it cannot be completed."""
        if not self._config.any:
            return self._complete(seen)
        import torch

        kind = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self._config.chosen_precision)
        with torch.autocast(self._config.device.split(":")[0], kind, enabled=kind is not None):
            return self._complete(seen)

    def _complete(self, seen: list[Observation]) -> list[Observation | ImageProblem]:
        self._detect(seen)
        if self._outdoor is not None:
            for one in seen:
                one.place = place_of(a.label for a in one.annotations) if one.depth is None else ""
        measured = self._measured([one for one in seen if one.candidates and one.depth is None])
        out: list[Observation | ImageProblem] = []
        for one in seen:
            try:
                self._set_depth(one, measured.get(id(one)))
                out.append(one)
            except ImageProblem as problem:
                out.append(problem)
        whole = [one for one in out if isinstance(one, Observation)]
        for first in range(0, len(whole), self._config.batch):
            self._segment(whole[first : first + self._config.batch])
        for one in whole:
            with_masks_from_depth(one)
        return out

    def _detect(self, seen: list[Observation]) -> None:
        """Adds detected objects to images with few annotations, except those that are annotated already."""
        few = [one for one in seen if len(one.candidates) < self._config.detect_below]
        if self._detector is None or not few:
            return
        for one, found in zip(few, self._detector.detect([o.color for o in few], self._config.batch), strict=True):
            for i, d in enumerate(found):
                if all(overlap_2d(d.box, c.box) < 0.6 for c in one.candidates):
                    one.candidates.append(Candidate(d.label, d.box, None))
                    one.annotations.append(Annotation(d.label, d.box, id=f"detected_{i}"))

    def _measured(self, seen: list[Observation]) -> dict[int, DepthEstimate | N3DError]:
        """Estimated depth of observations by `id`, in batches of images of one size and one model."""
        groups: dict[tuple[tuple[int, ...], bool, bool], list[Observation]] = {}
        for one in seen if self._depth is not None else ():
            groups.setdefault((one.color.shape, one.camera is None, one.place == "outdoor"), []).append(one)
        found: dict[int, DepthEstimate | N3DError] = {}
        for group in groups.values():
            for first in range(0, len(group), self._config.batch):
                batch = group[first : first + self._config.batch]
                found |= dict(zip(map(id, batch), self._estimates(batch), strict=True))
        return found

    def _model_of(self, one: Observation) -> MonocularDepth | None:
        return self._outdoor if one.place == "outdoor" else self._depth

    def _estimates(self, batch: list[Observation]) -> list[DepthEstimate | N3DError]:
        model = self._model_of(batch[0])
        assert model is not None
        try:
            return [*model.estimate_batch([o.color for o in batch], [o.camera for o in batch])]
        except (CameraError, DepthError) as error:
            return [error] if len(batch) == 1 else [self._estimates([one])[0] for one in batch]

    def _set_depth(self, one: Observation, estimate: DepthEstimate | N3DError | None) -> None:
        """Sets depth and intrinsics, if they are not measured.

        Raises:
            ImageProblem: `no_annotations`, `depth_missing`, `depth_corrupt`, `depth_unit` or `camera_missing`.
        """
        if not one.candidates:
            raise ImageProblem("no_annotations", f"{one.record.key}: nothing is annotated, and nothing was detected")
        if one.depth is not None:
            return
        model = self._model_of(one)
        if estimate is None or model is None:
            raise ImageProblem("depth_missing", f"{one.record.key}: no depth image, and models.depth is not set")
        if isinstance(estimate, N3DError):
            reason = "camera_missing" if isinstance(estimate, CameraError) else "depth_corrupt"
            raise ImageProblem(reason, f"{one.record.key}: {estimate}") from estimate
        one.depth, one.depth_origin = estimate.depth, model.name.split(" (")[0]
        if one.camera is None:
            one.camera, one.camera_origin = estimate.camera, "predicted"
        check_depth(one.depth, one.record.key)

    def _segment(self, seen: list[Observation]) -> None:
        if self._segmenter is None:
            return
        missing = [[i for i, c in enumerate(o.candidates) if c.mask is None and not c.crowd] for o in seen]
        chosen = [(o, rows) for o, rows in zip(seen, missing, strict=True) if rows]
        if not chosen:
            return
        boxes = [[o.candidates[i].box for i in rows] for o, rows in chosen]
        for (one, rows), found in zip(
            chosen, self._segmenter.segment([o.color for o, _ in chosen], boxes), strict=True
        ):
            for i, mask in zip(rows, found, strict=True):
                one.candidates[i] = replace(one.candidates[i], mask=mask)
