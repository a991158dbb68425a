"""The training loop, losses and optimisers."""
