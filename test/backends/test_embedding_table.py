"""The table's rows without torch are torch's, in every type that a checkpoint may have."""

import numpy as np
import pytest
import torch

from n3d_core.backends.sequence import EmbeddingTable
from n3d_core.errors import BackendError

IMAGE_PAD = 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_rows_are_the_tables_to_the_bit(dtype: torch.dtype) -> None:
    table = (torch.randn(32, 8, generator=torch.Generator().manual_seed(0)) * 1e3).to(dtype)
    table[3, :3] = torch.tensor([0.0, -0.0, float("inf")])
    ids = [3, 31, 0, 3]
    rows = EmbeddingTable(table, IMAGE_PAD).embed(ids)
    assert rows.dtype == np.float32
    assert rows.tobytes() == table[ids].float().numpy().tobytes()


def test_image_tokens_stand_in_the_places_of_pads_in_order_and_the_table_is_left_alone() -> None:
    table = torch.arange(32.0).reshape(8, 4)
    image = np.full((2, 4), [[-1.0], [-2.0]], np.float32)
    found = EmbeddingTable(table, IMAGE_PAD).embed([IMAGE_PAD, 1, IMAGE_PAD], image)
    assert found.tolist() == [[-1.0] * 4, [4.0, 5.0, 6.0, 7.0], [-2.0] * 4]
    assert table[IMAGE_PAD].tolist() == [20.0, 21.0, 22.0, 23.0]
    with pytest.raises(BackendError, match="must have 2 image pads, as many as the image has tokens; got 1"):
        EmbeddingTable(table, IMAGE_PAD).embed([IMAGE_PAD, 1], image)
