"""What the segmenter `cascade` is made of: whose logits are whose, and encodings that are made when they are needed."""
