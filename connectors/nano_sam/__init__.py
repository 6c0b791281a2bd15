"""A segmenter of our own: SAM's structure at a thousandth of its work, small enough to come along with the code.

    pixels ─► encoder ─► embedding (stride 8), fine (stride 4), finest (stride 2)       once per image
                             │
    points, box, prior ─► prompting ─► tokens, and maps at strides 8 and 4              at every click
                             │
                          decoder ─► four masks at stride 2, and how good each is

attention    who looks at whom
model        the three parts together
network      the model, as segmenters ask it

The structure is that of Kirillov et al., "Segment Anything" (ICCV 2023), with two things added that make a small
network precise after few steps: fine features go round the bottleneck into the masks (Ravi et al., "SAM 2", 2024), and
prompts are drawn as maps too (Liu et al., "Rethinking Interactive Image Segmentation with Low Latency, High Quality,
and Diverse Prompts", CVPR 2024).

Layers are PyTorch's classes: modules of this room are imported where a peer is built, and nowhere else. The weights,
`nano_sam.safetensors`, are made by `configs/weights/make_nano_sam.py` from generated scenes.
"""
