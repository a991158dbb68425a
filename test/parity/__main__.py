"""`python -m test.parity DIR`: a table of stages, then one line of JSON; non-zero past a tolerance."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import torch

from n3d_core.errors import N3DError
from test.parity.check import check_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check.

    Returns:
        0 if every stage is within its tolerance, 1 if not, 2 if the folder holds no golden vectors.
    """
    parser = argparse.ArgumentParser(prog="python -m test.parity", description=__doc__)
    parser.add_argument("folder", help="golden vectors: */case.json and the files they name")
    parser.add_argument(
        "--threads", type=int, default=1, help="torch threads (default 1, so that sums do not depend on the machine)"
    )
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads must be at least 1; got {options.threads}")
    torch.set_num_threads(options.threads)
    try:
        report = check_folder(options.folder, log=lambda line: print(line, file=sys.stderr, flush=True))
    except N3DError as error:
        print(error, file=sys.stderr)
        return 2
    print(report.table())
    print(json.dumps(report.summary()))
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
