"""Measures a checkpoint: what is asked (`suite`), what is said (`running`), and what of it is right (the others)."""
