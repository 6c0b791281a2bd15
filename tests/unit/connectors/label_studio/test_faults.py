"""What fails loses nothing and doubles nothing; `benchmarks/faults.py` tells the same story under every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.label_studio.project import SECRET
from tests.fakes.label_studio import FAULTS, FakeLabelStudio
from tests.fakes.label_studio.story import REQUESTS, STORY_SECRET, Request, tell

BY_NAME = {request.name: request for request in REQUESTS}
REFUSED = "connection refused"
UNDONE = {name for name, fault in FAULTS.items() if not fault.done} - {"429"} | {REFUSED}
"""What ends a run if it happens often enough: where the work is done, the next look finds it; a server that says that
it is busy is asked again."""


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, STORY_SECRET)


@pytest.mark.parametrize("fault", [*FAULTS, REFUSED])
def test_an_import_that_fails_again_and_again(fake: FakeLabelStudio, tmp_path: Path, fault: str) -> None:
    outcome = tell(fake, tmp_path, BY_NAME["import tasks"], [fault] * 5)
    assert outcome.wrong == []
    assert outcome.failures >= 2
    assert bool(outcome.errors) == (fault in UNDONE)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one.name.replace(" ", "-"))
def test_a_process_that_is_killed_while_it_waits(fake: FakeLabelStudio, tmp_path: Path, request_: Request) -> None:
    outcome = tell(fake, tmp_path, request_, ["503"], killed=True)
    assert outcome.wrong == []
    assert outcome.failures == 1


def test_the_story_notices_what_is_lost(fake: FakeLabelStudio, tmp_path: Path) -> None:
    fake.state.annotate = lambda *_, **__: {}  # type: ignore[method-assign]
    with pytest.raises(IndexError):
        tell(fake, tmp_path, BY_NAME["log in"], [])


def test_the_story_notices_what_is_doubled(
    fake: FakeLabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.label_studio.importing.Importer._found", lambda *_: set())
    outcome = tell(fake, tmp_path, BY_NAME["import tasks"], ["answer lost"])
    assert any(wrong.startswith("tasks:") for wrong in outcome.wrong)
