from __future__ import annotations

import numpy as np
import pytest

from connectors.ultralytics.classes import class_table
from pipeline.errors import ConfigError

COCO = {0: "person", 1: "car", 2: "truck", 3: "dog"}


@pytest.mark.parametrize(
    ("classes", "class_map", "targets"),
    [
        (("car", "dog"), {}, [-1, 0, -1, 1]),
        (("vehicle",), {"car": "vehicle", "truck": "vehicle"}, [-1, 0, 0, -1]),
        (("thing", "dog"), {"*": "thing"}, [0, 0, 0, 1]),
        (("thing", "dog"), {"*": "thing", "dog": "thing"}, [0, 0, 0, 0]),
        (("car", "dog"), {"dog": "car", "car": "dog"}, [-1, 1, -1, 0]),
    ],
    ids=["equal names", "several into one", "any other", "the map comes first", "exchanged"],
)
def test_the_table(classes: tuple[str, ...], class_map: dict[str, str], targets: list[int]) -> None:
    table = class_table(COCO, classes, class_map)
    assert table.targets.tolist() == targets
    assert table.wanted == [number for number, target in enumerate(targets) if target >= 0]
    used = [target for target in targets if target >= 0]
    assert table.merges == (len(set(used)) < len(used))


@pytest.mark.parametrize(
    ("classes", "class_map", "said"),
    [
        (("car",), {"lorry": "car"}, "no class 'lorry'"),
        (("car",), {"truck": "vehicle"}, "'vehicle' is none of the project's"),
        (("balloon",), {}, r"none of the model's 4 classes.*class_map: \{\"\*\": balloon\}"),
    ],
)
def test_a_map_that_does_not_fit(classes: tuple[str, ...], class_map: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        class_table(COCO, classes, class_map)
    assert caught.value.key == "class_map"


def test_the_highest_score_stands_for_a_merged_class() -> None:
    table = class_table(COCO, ("vehicle", "dog", "cat"), {"car": "vehicle", "truck": "vehicle"})
    scores = np.array([[0.9, 0.2, 0.5, 0.1], [0.0, 0.7, 0.6, 0.3]])
    assert table.project(scores).tolist() == [[0.5, 0.1, 0.0], [0.7, 0.3, 0.0]]
