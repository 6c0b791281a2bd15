"""What the segmenter `sam` is made of: the frame it sees, prompts as it wants them, the network, its answers."""
