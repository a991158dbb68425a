"""From messages to a `Frame`: encodings, camera info, registration, transforms."""
