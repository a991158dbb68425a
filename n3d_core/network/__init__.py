"""The network: one small definition of Qwen2.5-VL with the 3D positional encoding, for torch, export and training."""
