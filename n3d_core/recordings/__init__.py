"""Recordings: bags, public recording formats, and results written into a copy of a bag."""
