"""Recordings: bags, the published formats of others, and results written into a copy of a bag."""
