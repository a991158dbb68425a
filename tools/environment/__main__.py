"""Makes `.venv`: ROS 2 and Python packages at pinned versions, the built interfaces, and the command `n3d`.

    python3 tools/environment

Runs with any Python from 3.8 on and the standard library alone. Finished steps are skipped, interrupted ones repeated.
Needs no root.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from ledger import Ledger
from ros_source import choose
from running import SetupError, exclusive
from steps import plan


def main() -> int:
    """Bring `.venv` up to date; return the exit code."""
    root = Path(__file__).resolve().parents[2]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.monotonic()
    try:
        with exclusive(root):
            ledger = Ledger(root / ".venv")
            source = choose(ledger.source)
            steps = plan(root, source)
            work = ledger.unfinished(steps)
            for number, step in enumerate(work, start=len(steps) - len(work) + 1):
                print(f"[{number}/{len(steps)}] {step.title}", flush=True)
                with ledger.doing(step, source.as_dict()):
                    step.run()
    except SetupError as error:
        print(f"\nset-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up interrupted; run the same command to continue", file=sys.stderr)
        return 130
    if work:
        print(f"{root / '.venv'} is ready ({time.monotonic() - begin:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
