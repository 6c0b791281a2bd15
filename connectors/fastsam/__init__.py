"""What the segmenter `fastsam` is made of: everything it saw in an image, and the choice among it."""
