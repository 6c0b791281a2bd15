"""What lies in a FiftyOne dataset, read with FiftyOne alone: `python -m tests.integration.fiftyone.reading NAME`.

One line of JSON for each label with a mask: our ids, the field, the box, the crop, the image's size.
"""

from __future__ import annotations

import json
import sys


def main(name: str) -> None:
    import fiftyone as fo

    dataset = fo.load_dataset(name)
    print(
        json.dumps({"views": dataset.list_saved_views(), "runs": dataset.list_brain_runs(), "count": len(dataset)})
    )
    for sample in dataset:
        for field in ("proposals", "human", "before", "rejected", "truth"):
            for one in sample[field].detections:
                if one.mask is not None:
                    size_hw = [sample.metadata.height, sample.metadata.width]
                    row = [
                        sample["maskloop_id"],
                        field,
                        one["maskloop_id"] if one.has_field("maskloop_id") else "",
                    ]
                    print(json.dumps([*row, list(one.bounding_box), one.mask.tolist(), size_hw, one.label]))


if __name__ == "__main__":
    main(sys.argv[1])
