"""Networks that fill in what a source lacks: objects, masks, depth. All from local folders, none at import."""
