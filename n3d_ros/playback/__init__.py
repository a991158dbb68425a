"""Nodes that publish recorded frames and bags."""
