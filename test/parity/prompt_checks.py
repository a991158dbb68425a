"""Compares prompts: those of a case, and those that `prompts.json` lists with their tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.decoding.sampling import Sampling
from n3d_core.geometry.points import Normalisation, normalise
from n3d_core.language import prompts
from n3d_core.language.tokenizer import Tokenizer
from test.parity.dialogue import Dialogue, Prompt, build_dialogue, first_prompt, product_words
from test.parity.golden import Case, sha256
from test.parity.report import Report

Geometry = tuple[Normalisation, NDArray[np.floating]]
_PADS = re.compile(r"\{IMAGE_PAD x (\d+)\}")


def compare_dialogue(
    name: str, item: dict[str, Any], built: Dialogue, tokenizer: Tokenizer | None, report: Report
) -> None:
    """Compares texts with `prompt_1`, `prompt_2` and `grounding_saved`; spaces within the last need the tokenizer."""
    if built.product_words is not None:
        report.same("prompts", f"{name}/product", f"<image>{built.product_words}", built.first.said)
    for key, prompt in zip(("prompt_1", "prompt_2"), built.prompts, strict=False):
        if key in item:
            report.same("prompts", f"{name}/{key}", _as_kept(prompt, item[key], tokenizer), item[key])
    if built.saved is not None and "grounding_saved" in item:
        saved, wanted = built.saved, item["grounding_saved"]
        if tokenizer is None:
            saved, wanted = " ".join(saved.split()), " ".join(wanted.split())
        report.same("prompts", f"{name}/grounding_saved", saved, wanted)


def check_prompt_list(
    items: Sequence[dict[str, Any]],
    cases: Sequence[Case],
    released: Sequence[dict[str, Any]],
    tokenizer: Tokenizer | None,
    report: Report,
) -> None:
    """Compares `prompts.json`; the geometry of an item is that of the case, or released sample, with its reply."""
    for item in items:
        with report.guarded("prompts", item.get("name", "?")):
            geometry = _geometry(item, cases, released)
            _check_item(item, geometry, tokenizer, report)


def _check_item(item: dict[str, Any], geometry: Geometry | None, tokenizer: Tokenizer | None, report: Report) -> None:
    name, passes = f"prompts.json/{item['name']}", [item[p] for p in ("pass1", "pass2") if item.get(p)]
    tokens = int(_PADS.findall(passes[0]["text"])[0])
    if geometry is None:
        built = Dialogue(first_prompt(item, tokens), product_words(item))
    else:
        built = build_dialogue(item, *geometry, tokens, tokenizer)
    texts = {f"prompt_{i}": p["text"] for i, p in enumerate(passes, start=1)}
    compare_dialogue(name, {**item, **texts}, built, tokenizer, report)
    for number, golden in enumerate(passes):
        prompt = built.prompts[number] if number < len(built.prompts) else _prompt_of(golden["text"])
        _check_pass(f"{name}/{number + 1}", prompt, golden, tokenizer, report)


def _check_pass(name: str, prompt: Prompt, golden: dict[str, Any], tokenizer: Tokenizer | None, report: Report) -> None:
    _, grid_h, grid_w = golden["grid_thw"][0]
    report.same("prompts", f"{name}/image tokens", prompt.image_tokens, grid_h * grid_w // 4)
    asked, ours = golden["generate_kwargs"], Sampling.released()
    wanted = {key: asked[key] for key in ("temperature", "top_p", "top_k") if key in asked}
    report.same("prompts", f"{name}/sampling", {key: getattr(ours, key) for key in wanted}, wanted)
    if tokenizer is None:
        return
    ids = prompt.ids(tokenizer)
    report.same("prompt_tokens", f"{name}/n_tokens", len(ids), golden["n_tokens"])
    report.same("prompt_tokens", f"{name}/ids", sha256(np.array(ids, dtype="<i8")), golden["ids_sha256_int64"])
    if golden.get("single_string_encoding_equal"):
        report.same("prompt_tokens", f"{name}/encoded at once", prompt.whole_ids(tokenizer)[: len(ids)], ids)
    if "pad_token_id" in asked:
        report.same("prompt_tokens", f"{name}/pad", tokenizer.id_of(prompts.TURN_END), asked["pad_token_id"])


def _as_kept(prompt: Prompt, wanted: str, tokenizer: Tokenizer | None) -> str:
    """The text, cut where the script cuts it; the ids show whether the place is right."""
    cut = tokenizer is not None and len(prompt.ids(tokenizer)) < len(prompt.whole_ids(tokenizer))
    return prompt.text[: len(wanted)] if cut else prompt.text


def _geometry(item: dict[str, Any], cases: Sequence[Case], released: Sequence[dict[str, Any]]) -> Geometry | None:
    for case in cases:
        if case.info.get("messages") == item["messages"] and case.info.get("scripted_reply") == item["scripted_reply"]:
            return normalise(case.points, case.valid)[1], case.intrinsics
    for sample in released:
        if sample["codes"] == item["scripted_reply"]:
            return sample_geometry(sample)
    return None


def sample_geometry(sample: dict[str, Any]) -> Geometry:
    """Normalisation and intrinsics of a released sample in `python.json`."""
    shift = sample["shift0"]
    return Normalisation((shift[0], shift[1], shift[2]), sample["scaling"]), np.array(sample["intr"], dtype=np.float32)


def _prompt_of(text: str) -> Prompt:
    """A golden prompt taken apart, where nothing is known to build it from."""
    said = text.removeprefix(prompts.PREFIX.removesuffix(prompts.VISION_START)).removesuffix(prompts.SUFFIX)
    marked = re.compile(re.escape(prompts.VISION_START) + _PADS.pattern + re.escape(prompts.VISION_END))
    return Prompt(marked.sub("<image>", said), int(_PADS.findall(text)[0]))
