"""The nouns of maskloop: values without I/O, clock or randomness.

Conventions, written once and kept everywhere:

- An image is `uint8 (h, w, 3)`, RGB, C-contiguous, after EXIF orientation: one canonical pixel frame,
  fixed at ingest.
- Coordinates are float pixels of that frame, x to the right, y down; the pixel at (row i, column j)
  covers `[j, j + 1) x [i, i + 1)`. The centre of the first pixel is (0.5, 0.5).
- Boxes are `xyxy`, half-open: a box around exactly that first pixel is (0, 0, 1, 1).
- Sizes are `(height, width)` and carry `_hw` in their name.
- Scores lie in [0, 1] and carry their direction in their name: `confidence` (1 = sure),
  `uncertainty` (1 = ask a person).
- Units stand in names: `area_px`, `timeout_s`. Times are UTC.
- Ids are stable strings: a sample's id is the SHA-256 of its file's bytes, in hexadecimal.
"""
