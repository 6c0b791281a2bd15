"""What stands in the README.txt beside the tasks."""

from __future__ import annotations

__all__ = ["INSTRUCTIONS"]

INSTRUCTIONS = """\
How to answer
=============

outbox/<task id>/ is one image that somebody has to look at:

  <task id>.jpg or .png   the image
  instances.json          what the machine found in it, as a COCO file
  preview.png             the same as a picture, to see at a glance what has to be done

1. Open the image and instances.json in any tool that reads and writes COCO instance segmentation.
2. Correct it. Leave what is right as it is; change outlines or categories that are wrong; delete what is not
   there; draw what is missing. Every object needs an outline (polygon or mask): a box alone is not enough.
   An image in which there is nothing has no annotations, and that is an answer too.
3. Put the corrected COCO file into inbox/ under the name <task id>.json.

If everything is right, copy instances.json to inbox/<task id>.json.

Good to know
------------

- Work on a copy: instances.json in the outbox is not read again.
- "annotator": "your name" and "seconds": 42 at the top level of the JSON are kept with your answer. They may be
  left out.
- Do not change the size of the image, or the names of the categories.
- An answer may be improved later: change the file in the inbox, or put a new one in its place.
- An answer that cannot be used is moved to inbox/refused/, with a text file beside it that says why. Put it
  right, and put it into inbox/ again.
- A file that is still being copied is not a problem: it is read when it is whole.
- Leave the folders tasks/ and answers/ alone.
"""
