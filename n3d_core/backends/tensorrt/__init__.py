"""TensorRT: engines built from the exported graphs, and run."""
