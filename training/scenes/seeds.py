"""Ranges of seeds for training and for held-out scenes, so that no test scene is trained on."""

from __future__ import annotations

from n3d_core.errors import ConfigError

TRAIN_SEEDS = range(0, 900_000)
"""Seeds for training."""

VALIDATION_SEEDS = range(900_000, 1_000_000)
"""Seeds for validation (early stopping, calibration)."""

TEST_SEEDS = range(1_000_000, 2_000_000)
"""Seeds for the published figures."""

DEMO_SEEDS = range(2_000_000, 2**31)
"""Seeds for demo frames and for users' own scenes."""


def check_seeds(seeds: range, allowed: range, purpose: str) -> None:
    """Checks that all of `seeds` lie in `allowed`.

    Raises:
        ConfigError: if the range is empty, has a step other than 1, or exceeds `allowed`.
    """
    if len(seeds) == 0 or seeds.step != 1:
        raise ConfigError(f"seeds for {purpose} must be a rising, non-empty range; got {seeds.start}:{seeds.stop}")
    if seeds.start not in allowed or seeds.stop - 1 not in allowed:
        raise ConfigError(
            f"seeds {seeds.start}:{seeds.stop} are not for {purpose}: "
            f"use seeds in {allowed.start}:{allowed.stop}, so that training and held-out scenes stay apart"
        )


def parse_seeds(text: str) -> range:
    """Reads `FIRST:STOP` (STOP not included).

    Raises:
        ConfigError: if the text is not two whole numbers with a colon.
    """
    first, colon, stop = text.partition(":")
    try:
        if not colon:
            raise ValueError("no colon")
        return range(int(first), int(stop))
    except ValueError as error:
        raise ConfigError(f"seeds must be FIRST:STOP, such as 0:12000; got {text!r} ({error})") from error
