"""Camera topics: the newest messages, paired, and what is wrong when there are none."""
