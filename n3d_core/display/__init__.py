"""Pictures and recordings of results."""
