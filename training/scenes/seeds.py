"""Which seeds are for training and which are held out, so that no test scene is ever trained on."""

from __future__ import annotations

from n3d_core.errors import ConfigError

TRAIN_SEEDS = range(0, 900_000)
"""Seeds that a training may use."""

VALIDATION_SEEDS = range(900_000, 1_000_000)
"""Seeds for choices made during training (early stopping, calibration)."""

TEST_SEEDS = range(1_000_000, 2_000_000)
"""Seeds that published figures are measured on."""

DEMO_SEEDS = range(2_000_000, 2**31)
"""Seeds of demo frames and of scenes that a user asks for."""


def check_seeds(seeds: range, allowed: range, purpose: str) -> None:
    """Checks that all of `seeds` lie in `allowed`.

    Raises:
        ConfigError: if the range is empty, goes in other steps than 1, or leaves `allowed`.
    """
    if len(seeds) == 0 or seeds.step != 1:
        raise ConfigError(f"seeds {seeds.start}:{seeds.stop} for {purpose}: a rising, non-empty range is wanted")
    if seeds.start not in allowed or seeds.stop - 1 not in allowed:
        raise ConfigError(
            f"seeds {seeds.start}:{seeds.stop} are not for {purpose}: "
            f"seeds in {allowed.start}:{allowed.stop} are wanted, so that training and held-out scenes stay apart"
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
        raise ConfigError(f"seeds {text!r}: FIRST:STOP is wanted, for example 0:12000 ({error})") from error
