"""Renders the frames of the demo: `python demo/make_frames.py` makes demo/frames as demo/seeds.json says.

Each seed is a scene that no training may use, made of what the shipped model is taught. Its truth file asks for every
object that can be asked for by its label, for one that is absent, and four spatial questions. The same seeds give the
same files on one machine; another OpenGL may render other pixels. `--seeds` chooses other scenes and notes them in
seeds.json beside the folder. demo/bag is made of these frames: run demo/make_bag.py afterwards.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from n3d_core.atomic_write import atomic_write
from n3d_core.errors import ConfigError, N3DError
from n3d_core.geometry.frame_folder import Truth, write_frame
from n3d_core.models import find_model
from training.questions.fill import fill, groundable
from training.questions.grounding import SceneObjects, grounding_samples
from training.scenes import DEMO_SEEDS, Scene, SceneConfig, check_seeds, render
from training.scenes.vocabulary import Vocabulary

HERE = Path(__file__).resolve().parent


def asked(scene: Scene, taught: Vocabulary) -> Truth:
    """The truth of a scene with a query for each label, one for something absent, and spatial questions."""
    truth = fill(scene.truth, scene.seed, scene.frame.camera, vocabulary=taught)
    objects = SceneObjects.of(truth.objects, groundable(truth.objects, scene.frame.camera))
    labels = dict.fromkeys(truth.objects[i].box.label for i in objects.groundable)
    queries: list[dict[str, Any]] = [
        {"text": label, "objects": found, "kind": "label"} for label in labels if (found := objects.named(label))
    ]
    absent = grounding_samples(objects, 1, scene.seed, taught, {"absent": 1.0})
    return replace(truth, groundings=queries + [sample.to_json() for sample in absent])


def write_frames(folder: Path, seeds: Sequence[int], config: SceneConfig, taught: Vocabulary) -> None:
    """Renders the scenes into a frame folder that replaces an earlier one, whole or not at all.

    Raises:
        ConfigError: if a seed is not for demos, or `folder` is something else than a frame folder.
        MissingDependencyError: if MuJoCo or OpenGL is missing.
    """
    for seed in seeds:
        check_seeds(range(seed, seed + 1), DEMO_SEEDS, "the demo")
    if folder.exists() and not (folder / "camera.yaml").exists():
        raise ConfigError(f"{folder}: exists and is no frame folder; it is left alone, name another --output")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for index, seed in enumerate(seeds):
        scene = render(seed, config)
        truth = asked(scene, taught)
        write_frame(part, index, scene.frame, truth)
        print(f"seed {seed}: {', '.join(query['text'] for query in truth.groundings)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the frames, and the seeds that they are made of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", help="one a frame; those of demo/seeds.json by default")
    parser.add_argument("--model", default="n3d-tiny", help="whose vocabulary the scenes are made of (%(default)s)")
    parser.add_argument("--output", type=Path, default=HERE / "frames", help="frame folder (%(default)s)")
    options = parser.parse_args(arguments)
    about = json.loads((HERE / "seeds.json").read_text())
    about["seeds"] = options.seeds or about["seeds"]
    try:
        taught = Vocabulary.of_model(find_model(options.model))
        standard = SceneConfig.standard(*about["size"]).made_of(taught)
        output = options.output.resolve()
        write_frames(output, about["seeds"], replace(standard, fov=(about["fov"], about["fov"])), taught)
    except N3DError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with atomic_write(output.with_name("seeds.json")) as part:
        part.write_text(json.dumps(about) + "\n")
    print(f"{output}: {len(about['seeds'])} frames; demo/make_bag.py makes a bag of them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
