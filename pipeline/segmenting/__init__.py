"""What the house adds to every segmenter: care, memory, refinement by clicks, and a predictor for notebooks."""
