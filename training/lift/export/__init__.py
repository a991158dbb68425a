"""Finished runs in other people's forms, and back without loss."""
