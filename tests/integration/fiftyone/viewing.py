"""What the saved views hold, asked of FiftyOne alone: `python -m tests.integration.fiftyone.viewing`.

Some images have every figure, some hold nothing in every field, and some were there before the fields were. One line
of JSON: view -> the names of its images, in order.
"""

from __future__ import annotations

import json

from connectors.fiftyone.samples import FIGURES
from connectors.fiftyone.views import VIEWS, save_views

FIGURED = {
    "calm": {"uncertainty": 0.1, "agreement": 1.0, "changed": 0.0, "worst_round_trip": 1.0},
    "poor": {"uncertainty": 0.9, "agreement": 0.2, "changed": 0.8, "worst_round_trip": 0.5},
    "fair": {"uncertainty": 0.5, "agreement": 0.7, "changed": 0.3, "worst_round_trip": 0.9},
    "void": {"uncertainty": 0.0, "agreement": 0.0, "changed": 0.0, "worst_round_trip": 0.0},
}
"""Images with figures; of "void" they are all 0, which is a figure too."""


def main() -> None:
    import fiftyone as fo

    dataset = fo.Dataset("viewing")
    dataset.add_sample_field("rejected", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    dataset.add_samples([fo.Sample(f"/elder-{index}.png") for index in range(3)], progress=False)
    for field, kind in FIGURES.items():
        dataset.add_sample_field(field, {float: fo.FloatField, int: fo.IntField, str: fo.StringField}[kind])
    without = [fo.Sample(f"/without-{index}.png", **dict.fromkeys(FIGURES)) for index in range(3)]
    figured = [fo.Sample(f"/{name}.png", **figures) for name, figures in FIGURED.items()]
    thrown = fo.Detections(detections=[fo.Detection(label="cell", bounding_box=[0, 0, 1, 1])])
    odd = [fo.Sample("/thrown.png", rejected=thrown), fo.Sample("/unread.png", quarantined="is no image")]
    dataset.add_samples([*without, *figured, *odd], progress=False)
    save_views(dataset, fo.ViewField)
    paths = {name: dataset.load_saved_view(name).values("filepath") for name in VIEWS}
    print(json.dumps({name: [path[1:].removesuffix(".png") for path in found] for name, found in paths.items()}))


if __name__ == "__main__":
    main()
