"""`python -m training.lift.export RUN --format sharegpt|omni3d --output DIR`: a finished run in another form."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from n3d_core.errors import N3DError
from training.lift.export.omni3d import export_omni3d
from training.lift.export.sharegpt import export_sharegpt
from training.lift.reader import LiftedDataset


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the last line is JSON with how many conversations or objects were written."""
    parser = argparse.ArgumentParser(prog="python -m training.lift.export", description=__doc__)
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--format", choices=("sharegpt", "omni3d"), required=True)
    parser.add_argument("--output", required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        data = LiftedDataset(options.run)
        write = export_sharegpt if options.format == "sharegpt" else export_omni3d
        count = write(data, options.output)
    except (N3DError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"format": options.format, "samples": len(data), "written": count}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
