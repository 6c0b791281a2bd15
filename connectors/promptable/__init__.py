"""What segmenters of SAM's structure share: image encoder, prompt encoder and mask decoder, called part by part.

frame        between the image and the square that a network sees
network      what is asked of a network, and the shape that each network has
enlarging    from low-resolution logits to a mask of the image
segmenter    the port over any such network
settings     what every such peer can be told; and how it is built
weights      state dictionaries, read without running anything
"""
