"""A language model from a local folder: loaded from safetensors, asked, and refused where there is none."""

import pytest

from n3d_core.errors import CheckpointError
from training.questions.language_model import LocalModel

transformers = pytest.importorskip("transformers", reason="transformers (the extra `lift-models`) is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GPT-2 of two layers with random weights, and a tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    path = tmp_path_factory.mktemp("model")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(path)
    transformers.set_seed(0)
    config = transformers.GPT2Config(vocab_size=len(letters), n_positions=256, n_embd=16, n_layer=2, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(path)
    return path


def test_a_local_model_replies_the_same_each_time(folder):
    model = LocalModel(folder, max_new_tokens=8)
    reply = model.reply("Reword.", "How far is the mug?")
    assert 0 < len(reply.encode()) <= 8 * 4
    assert model.reply("Reword.", "How far is the mug?") == reply


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        LocalModel(tmp_path)


def test_pickled_weights_are_refused(folder, tmp_path):
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(CheckpointError, match="safetensors"):
        LocalModel(tmp_path)
