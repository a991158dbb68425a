"""The earlier reader, solver and audit, until their callers use typed questions."""
