"""The network as ONNX graphs, in two spellings."""
