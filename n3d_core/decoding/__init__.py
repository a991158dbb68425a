"""The token loop: sampling, drafts, the kept prefix, and decoding tokens to boxes."""
