"""`python -m n3d_core.cli` is `n3d`."""

import sys

from n3d_core.cli import main

sys.exit(main())
