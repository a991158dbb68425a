"""Networks that add what a source lacks: objects, masks, depth. Loaded from local folders."""
