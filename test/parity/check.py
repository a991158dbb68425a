"""Checks a whole folder of golden vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from n3d_core.backends.torch_backend import TorchBackend
from n3d_core.decoding.sampling import GenerationDefaults
from n3d_core.errors import CheckpointError
from n3d_core.language.tokenizer import Tokenizer
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.preprocess import DEVIATION, MEAN
from test.parity.case_checks import check_case
from test.parity.golden import Case, case_folders, inside, read_case, read_json
from test.parity.image_checks import check_images, check_sinusoid
from test.parity.prompt_checks import check_prompt_list
from test.parity.report import Report
from test.parity.text_checks import check_text
from test.parity.weights import rebuilt_network


def check_folder(root: str | Path, log: Callable[[str], None] = lambda line: None) -> Report:
    """Compares everything that a folder of golden vectors holds.

    Args:
        log: told of progress, one line at a time.

    Raises:
        ConfigError: if the folder has no case.
    """
    folder, report = Path(root), Report()
    folders = case_folders(folder)
    tokenizer = _tokenizer(folder, report)
    models: dict[str, TorchBackend] = {}
    cases: list[Case] = []
    for path in folders:
        log(f"case {path.name}")
        report.cases += 1
        with report.guarded("case", path.name):
            case = read_case(path)
            cases.append(case)
            name = case.info["model"]
            if name not in models:
                models[name] = _model(inside(folder, name), report)
            check_case(case, models[name], tokenizer, report)
    log("text, prompts and images")
    _check_shared(folder, cases, tokenizer, models, report)
    return report


def _check_shared(
    folder: Path, cases: list[Case], tokenizer: Tokenizer | None, models: dict[str, TorchBackend], report: Report
) -> None:
    """Compares what is not part of a case, where the folder has it."""
    text: dict[str, Any] = {}
    with report.guarded("text", "python.json"):
        if (folder / "python.json").exists():
            text = read_json(folder / "python.json")
            check_text(text, report)
    with report.guarded("prompts", "prompts.json"):
        if (folder / "prompts.json").exists():
            check_prompt_list(read_json(folder / "prompts.json"), cases, text.get("released", []), tokenizer, report)
    with report.guarded("sizes", "preprocess.json"):
        if (folder / "preprocess.json").exists():
            config = next(iter(models.values())).config
            check_images(read_json(folder / "preprocess.json"), folder / "images", config, report)
    with report.guarded("sine", "sine3d.safetensors"):
        if (folder / "sine3d.safetensors").exists():
            try:
                check_sinusoid(load_file(folder / "sine3d.safetensors"), report)
            except SafetensorError as error:
                report.fail("sine", "sine3d.safetensors", str(error))


def _tokenizer(folder: Path, report: Report) -> Tokenizer | None:
    path = folder / "tokenizer" / "tokenizer.json"
    try:
        return Tokenizer(path) if path.exists() else None
    except CheckpointError as error:
        report.fail("prompt_tokens", "tokenizer", str(error))
        return None


def _model(folder: Path, report: Report) -> TorchBackend:
    """A golden model, its configuration in every form that the folder has compared on the way."""
    config = N3DConfig.from_file(folder / "config.json")
    nested = folder / "config_saved_by_reference.json"
    if nested.exists():
        report.same("config", f"{folder.name}/nested", N3DConfig.from_file(nested), config)
    with report.guarded("config", f"{folder.name}/preprocessor_config.json"):
        if (folder / "preprocessor_config.json").exists():
            _check_preprocessor(folder, config, report)
    with report.guarded("config", f"{folder.name}/generation_config.json"):
        defaults = GenerationDefaults.from_folder(folder, config)
        report.same("config", f"{folder.name}/end of turn", config.eos_token_id in defaults.eos_token_ids, True)
    listing = folder / "weights.json"
    if listing.exists():
        network = rebuilt_network(config, read_json(listing), report, folder.name)
    else:
        network = load_network(folder)
    return TorchBackend(network, "the plain path that all others are compared with")


def _check_preprocessor(folder: Path, config: N3DConfig, report: Report) -> None:
    """That what our preprocessing has built in is what the checkpoint asks for."""
    golden, vision = read_json(folder / "preprocessor_config.json"), config.vision
    for key in {"image_mean", "image_std"} & golden.keys():
        golden[key] = np.array(golden[key], dtype=np.float32).tolist()
    ours: dict[str, Any] = {
        "image_mean": MEAN.tolist(),
        "image_std": DEVIATION.tolist(),
        "rescale_factor": 1 / 255,
        "resample": 3,  # bicubic
        "patch_size": vision.patch_size,
        "merge_size": vision.spatial_merge_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
    }
    for key in ours.keys() & golden.keys():
        report.same("config", f"{folder.name}/{key}", ours[key], golden[key])
