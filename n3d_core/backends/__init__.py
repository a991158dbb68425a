"""The same network on torch, ONNX Runtime and TensorRT behind one small interface."""
