"""The demo: a camera, the grounding node, a few queries, and a score."""
