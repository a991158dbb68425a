"""One program per published figure: `python -m bench.NAME --json`."""
