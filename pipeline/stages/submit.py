"""submit: the chosen images, with what the machine made of them -> tasks for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.errors import BackendRejected, DataError, ShapeMismatch, SplitLeak
from pipeline.events import Emit, silent
from pipeline.ports import Annotator, TaskItem

__all__ = ["submit"]


def submit(items: Sequence[TaskItem], annotator: Annotator, emit: Emit = silent) -> Mapping[str, str]:
    """Sample id -> task id, one for every item, in the order of the items. Asking twice makes one task.

    Raises SplitLeak for a held-out image, DataError for one that comes twice, ShapeMismatch for a mask of
    another size than its image, BackendRejected if the annotator leaves an item out.
    """
    seen: set[str] = set()
    for item in items:
        _check(item)
        if item.sample.id in seen:
            raise DataError("it is submitted twice", sample_id=item.sample.id)
        seen.add(item.sample.id)
    if not items:
        return {}
    emit("submit.begin", images=len(items), annotator=annotator.name)
    tasks = annotator.submit(items)
    missing = [item.sample.id for item in items if item.sample.id not in tasks]
    if missing:
        raise BackendRejected(
            f"it made no task for {len(missing)} of {len(items)} images, first {missing[0]}",
            backend=annotator.name,
            operation="submit tasks",
        )
    emit("submit.end", images=len(items), annotator=annotator.name)
    return {item.sample.id: tasks[item.sample.id] for item in items}


def _check(item: TaskItem) -> None:
    sample = item.sample
    if sample.split != "train":
        raise SplitLeak(f"it is in the held-out split {sample.split!r} and must not be asked", sample_id=sample.id)
    for instance in item.instances:
        if instance.mask is not None and instance.mask.size_hw != sample.size_hw:
            raise ShapeMismatch(
                f"mask {instance.id} is {instance.mask.size_hw}, the image is {sample.size_hw}",
                sample_id=sample.id,
            )
