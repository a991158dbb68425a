"""The network: vision tower with 3D positional encoding, decoder, preprocessing and checkpoint loading."""
