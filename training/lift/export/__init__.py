"""Exports finished runs to public formats, and imports them back without loss."""
