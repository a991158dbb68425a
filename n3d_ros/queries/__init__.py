"""One query from its arrival to its outcome: queue, servers, the newest frame, the model."""
