"""From images and annotations to packed token sequences."""
