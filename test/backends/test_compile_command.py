"""The command line of n3d compile: its line of JSON, its options, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from n3d_core.cli import main

pytest.importorskip("onnx", reason="writing graphs: pip install 'n3d-ros[export]'")


def test_graphs_are_written_and_the_manifest_is_the_last_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--size", "96x80", "--precision", "int8", "--lower", "--cache", "512", "--output", str(tmp_path)]
    assert main(["compile", str(checkpoint), *options]) == 0
    manifest = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["size"], manifest["precision"], manifest["lowered"]) == ("96x80", "int8", True)
    assert [Path(entry["file"]).name for entry in manifest["graphs"]] == ["vision.onnx", "decoder.onnx"]
    assert all((tmp_path / entry[part]["file"]).is_file() for entry in manifest["graphs"] for part in ("data",))


def test_an_output_that_cannot_be_written_is_named_with_its_option(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["compile", str(checkpoint), "--size", "96x80", "--output", str(output)]) == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith(f"n3d: {output}: cannot be written (")
        assert said.endswith("); set --output to a folder that can")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workspace", "0"], "--workspace must be a number of MiB above 0; got 0.0"),
        (["--workspace", "nan"], "--workspace must be a number of MiB above 0; got nan"),
        (["--workspace", "inf"], "--workspace must be a number of MiB above 0; got inf"),
        (["--workspace", "1e30"], "--workspace must be a number of MiB above 0; got 1e+30"),
        (["--cache", "8"], "--cache must be at least 64 tokens"),
        (["--size", "640"], "image size must be WIDTHxHEIGHT"),
    ],
)
def test_a_wrong_option_ends_with_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["compile", str(checkpoint), "--output", str(tmp_path / "out"), *options]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
