"""What the segmenter `grabcut` is made of: colour models, the graph cut, and where the cut may go."""
