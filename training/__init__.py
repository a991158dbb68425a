"""Reproduces N3D-VLM offline: scenes, questions, two-stage training, evaluation, and the data engine."""
