"""The model's language: boxes as text, bins, prompts, grammar and tokens. Independent of cameras and the network."""
