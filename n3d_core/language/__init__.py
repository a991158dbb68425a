"""The model's words: boxes as text, bins, prompts, grammar and tokens. Knows no camera driver and no network."""
