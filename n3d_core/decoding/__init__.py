"""The token loop: sampling, drafts, the kept prefix, and boxes read from tokens."""
