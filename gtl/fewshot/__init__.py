"""Few-shot methods on classes with few samples, compared over many splits."""
