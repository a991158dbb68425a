"""Measures a checkpoint: queries and questions (`suite`), answers (`running`), and their scores (the other modules)."""
