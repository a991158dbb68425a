"""From results to messages, markers and diagnostics."""
