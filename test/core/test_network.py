"""Every fast path of the network equals the plain one, and `aligned` means what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from n3d_core.backends.torch_backend import FIRST_CAPACITY, TorchBackend
from n3d_core.errors import TextTooLongError
from n3d_core.network.model import PlanTensors, RMSNorm, VisionAttention, rotate, sinusoid
from n3d_core.network.plan import ImagePlan, image_plan
from n3d_core.network.preprocess import VisionInput, merge_group_tiles
from test.core.checkpoints import random_network, small_config
from test.parity.forward import prompt_positions

CONFIG = small_config()
# One window; windows that are full; windows cut at the right, below, and both; portrait.
GRIDS = [(4, 6), (16, 16), (8, 18), (18, 8), (18, 22), (46, 26)]


@pytest.fixture(scope="module")
def backend() -> TorchBackend:
    torch.set_num_threads(1)
    return TorchBackend(random_network(CONFIG))


def random_image(plan: ImagePlan, seed: int = 0) -> VisionInput:
    generator = np.random.default_rng(seed)
    patches = generator.standard_normal((plan.patches, CONFIG.vision.patch_values)).astype(np.float32)
    coordinates = generator.integers(-900, 900, (plan.patches, 3)).astype(np.float32)
    return VisionInput(patches, coordinates, plan)


@pytest.mark.parametrize(("grid_h", "grid_w"), GRIDS)
def test_windows_attend_as_a_dense_mask_says(grid_h: int, grid_w: int) -> None:
    torch.manual_seed(0)
    attention = VisionAttention(CONFIG.vision).eval()
    plan = image_plan(CONFIG, grid_h, grid_w)
    x = torch.randn(2, plan.patches, CONFIG.vision.hidden_size)
    with torch.inference_mode():
        windowed = attention(x, PlanTensors(plan), windowed=True)
        window = torch.from_numpy(np.searchsorted(plan.segments, np.arange(plan.patches), side="right"))
        q, k, v = attention.qkv(x).view(2, plan.patches, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
        cos, sin = torch.from_numpy(plan.cos), torch.from_numpy(plan.sin)
        dense = F.scaled_dot_product_attention(
            rotate(q, cos, sin), rotate(k, cos, sin), v, attn_mask=window[:, None] == window[None, :]
        )
        expected = attention.proj(dense.transpose(1, 2).reshape(2, plan.patches, -1))
    torch.testing.assert_close(windowed, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("grid_h", "grid_w"), GRIDS)
def test_a_window_holds_the_patches_of_eight_by_eight_tokens_at_most(grid_h: int, grid_w: int) -> None:
    plan = image_plan(CONFIG, grid_h, grid_w)
    rows, cols = np.divmod(_row_major_ids(plan)[plan.order], grid_w)
    side = CONFIG.vision.window_size // CONFIG.vision.patch_size
    for start, end in zip(plan.segments, plan.segments[1:], strict=False):
        assert len({(r // side, c // side) for r, c in zip(rows[start:end], cols[start:end], strict=True)}) == 1
    assert len(plan.segments) - 1 == -(-grid_h // side) * -(-grid_w // side)


@pytest.mark.parametrize("pe_order", ["aligned", "row_major"])
@pytest.mark.parametrize(("grid_h", "grid_w"), GRIDS)
def test_aligned_puts_each_encoding_on_its_own_patch(pe_order: str, grid_h: int, grid_w: int) -> None:
    config = replace(CONFIG, pe_order=pe_order)
    tower = random_network(config).visual
    plan = image_plan(config, grid_h, grid_w)
    own_id = _row_major_ids(plan)[plan.order]  # of the patch at each place of the window order
    coordinates = np.stack([np.arange(plan.patches)] * 3, axis=1).astype(np.float32)  # a patch's coordinates are its id
    patches = torch.from_numpy(random_image(plan).patches)[None]
    entering: list[torch.Tensor] = []
    tower.merger.register_forward_pre_hook(lambda module, args: entering.append(args[0]))
    with torch.inference_mode():
        tower(patches, torch.from_numpy(coordinates)[None], PlanTensors(plan))
        added = entering[0][0] - tower.features(patches, PlanTensors(plan))[0]
        encoding = sinusoid(torch.from_numpy(coordinates), config.vision.hidden_size)
    expected = encoding[own_id] if pe_order == "aligned" else encoding
    torch.testing.assert_close(added, expected, rtol=0, atol=1e-5)


def _row_major_ids(plan: ImagePlan) -> np.ndarray:
    """Row-major patch id of each patch in merge-group order, found by cutting an image whose patches show their ids."""
    side = CONFIG.vision.patch_size
    ids = np.arange(plan.patches).reshape(plan.grid_h, plan.grid_w)
    picture = np.repeat(np.repeat(ids, side, axis=0), side, axis=1)[..., None]
    return merge_group_tiles(picture, CONFIG.vision)[:, 0, 0, 0]


def test_image_tokens_stand_in_reading_order(backend: TorchBackend) -> None:
    plan = image_plan(CONFIG, 18, 22)
    image = random_image(plan)
    tower = backend.network.visual
    merged: list[torch.Tensor] = []
    handle = tower.merger.register_forward_hook(lambda module, args, out: merged.append(out))
    tokens = backend.encode(image)
    handle.remove()
    token_of_group = _row_major_ids(plan)[plan.order][::4]  # the first patch of each group is the top left one
    rows, cols = np.divmod(token_of_group, plan.grid_w)
    reading = (rows // 2) * plan.token_w + cols // 2
    assert torch.equal(tokens[torch.from_numpy(reading)], merged[0][0])


def test_two_images_at_once_give_what_each_gives_alone(backend: TorchBackend) -> None:
    plan = image_plan(CONFIG, 8, 18)
    one, two = random_image(plan, 1), random_image(plan, 2)
    patches, coordinates = (
        torch.from_numpy(np.stack([getattr(image, name) for image in (one, two)]))
        for name in ("patches", "coordinates")
    )
    with torch.inference_mode():
        both = backend.network.visual(patches, coordinates, PlanTensors(plan))
    for index, image in enumerate((one, two)):
        torch.testing.assert_close(both[index], backend.encode(image), rtol=0, atol=2e-6)


def test_sinusoid_follows_the_formula() -> None:
    coordinates = torch.tensor([[3.0, -250.0, 981.0]])
    for width in (1280, 131, 130):
        encoded = sinusoid(coordinates, width)[0].double().numpy()
        n = width // 3
        for axis, value in enumerate(coordinates[0].tolist()):
            for j in (0, 1, 2, n // 2, n - 1):
                angle = value / 10000 ** (2 * (j // 2) / n)
                expected = np.sin(angle) if j % 2 == 0 else np.cos(angle)
                assert encoded[axis * n + j] == pytest.approx(expected, abs=2e-4)
        assert (encoded[3 * n :] == 0).all()


def test_chunks_with_a_cache_give_the_logits_of_one_pass(backend: TorchBackend) -> None:
    plan = image_plan(CONFIG, 8, 18)
    generator = np.random.default_rng(0)
    words = generator.integers(0, 290, FIRST_CAPACITY).tolist()  # with the image, more than the first buffer holds
    ids = [*words[:9], 292, *[CONFIG.image_token_id] * plan.tokens, 293, *words[9:]]
    positions = prompt_positions(ids, plan, CONFIG.image_token_id)
    image = backend.encode(random_image(plan))
    whole = backend.start().extend(ids, positions, image=image, rows=len(ids))
    sequence, rows = backend.start(), []
    ends = [11 + plan.tokens, 60, 61, 62, 200, FIRST_CAPACITY, FIRST_CAPACITY + 1, len(ids)]
    for start, end in zip([0, *ends], ends, strict=False):
        chunk = ids[start:end]
        given = image if start == 0 else None
        rows.append(sequence.extend(chunk, positions[:, start:end], image=given, rows=len(chunk)))
    assert sequence.length == len(ids)
    assert np.abs(np.concatenate(rows) - whole).max() <= 1e-5 * np.abs(whole).max()


def test_a_truncated_sequence_goes_on_as_if_nothing_had_been_there(backend: TorchBackend) -> None:
    ids = np.random.default_rng(1).integers(0, 290, 40).tolist()
    positions = np.broadcast_to(np.arange(40), (3, 40))
    fresh = backend.start()
    fresh.extend(ids[:20], positions[:, :20])
    expected = fresh.extend(ids[30:], positions[:, 20:30])
    sequence = backend.start()
    sequence.extend(ids[:30], positions[:, :30])
    sequence.truncate(20)
    assert np.abs(sequence.extend(ids[30:], positions[:, 20:30]) - expected).max() <= 1e-5
    for wrong in (-1, 31):
        with pytest.raises(ValueError, match="cannot truncate"):
            sequence.truncate(wrong)


def test_a_sequence_longer_than_the_model_takes_is_refused(backend: TorchBackend) -> None:
    limit = CONFIG.text.max_position_embeddings
    sequence = backend.start()
    with pytest.raises(TextTooLongError, match=f"{limit + 1} tokens; the model's limit is {limit}"):
        sequence.extend([1] * (limit + 1), np.zeros((3, limit + 1), dtype=np.int64))


def test_positions_count_the_image_by_its_longer_side() -> None:
    plan = image_plan(CONFIG, 8, 18)  # 4 x 9 tokens
    positions = prompt_positions([1, 2, *[CONFIG.image_token_id] * 36, 3, 4], plan, CONFIG.image_token_id)
    assert positions[:, :2].tolist() == [[0, 1]] * 3
    assert positions[:, 2 + 9 + 3].tolist() == [2, 2 + 1, 2 + 3]  # second row, fourth column
    assert positions[:, -2:].tolist() == [[11, 12]] * 3


def test_norm_in_half_precision_computes_in_single() -> None:
    norm = RMSNorm(8).half()
    x = torch.full((1, 8), 300.0, dtype=torch.float16)  # its square overflows half precision
    torch.testing.assert_close(norm(x), torch.ones(1, 8, dtype=torch.float16))
