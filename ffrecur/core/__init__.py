"""The core of local learning: sources, visits to layers, objectives, goodness, and the exact local gradients."""
