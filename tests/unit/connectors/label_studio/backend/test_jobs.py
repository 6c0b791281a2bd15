"""Rounds that the backend starts: one at a time, told honestly, and stopped when they are told to."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from connectors.label_studio.backend.hints import Hints
from connectors.label_studio.backend.jobs import Job, Jobs
from connectors.label_studio.backend.services import Limits
from tests.unit.connectors.label_studio.backend._tools import services, talking


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-S", "-c", code


def jobs_of(folder: Path, code: str, patience_s: float = 5.0) -> Jobs:
    return Jobs(python(code), folder, lambda: datetime.now(UTC), patience_s=patience_s)


def waiting_for(go: Path) -> str:
    return f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(.01)\n"


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def ended(jobs: Jobs, job: Job) -> Job:
    until(lambda: (jobs.get(job.id) or job).state not in {"queued", "running"})
    found = jobs.get(job.id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("code", "state", "exit_code"),
    [
        ("print('round 1')", "done", 0),
        ("raise SystemExit(3)", "waiting", 3),
        ("raise SystemExit('no')", "failed", 1),
    ],
)
def test_a_job_tells_how_it_ended_and_keeps_its_log(tmp_path: Path, code: str, state: str, exit_code: int) -> None:
    jobs = jobs_of(tmp_path, code)
    job = ended(jobs, jobs.start("Start Training"))
    assert (job.state, job.exit_code, job.reason) == (state, exit_code, "Start Training")
    assert job.ended is not None
    assert jobs.tail(job.id).strip() == {"done": "round 1", "failed": "no"}.get(state, "")


def test_one_runs_one_waits_and_a_third_is_that_one(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, waiting_for(tmp_path / "go"))
    first, second, third = (jobs.start(str(number)) for number in range(3))
    assert (first.state, second.state) == ("running", "queued")
    assert third == second
    (tmp_path / "go").touch()
    assert [ended(jobs, job).state for job in (first, second)] == ["done", "done"]
    assert [job.id for job in jobs.all()] == [second.id, first.id]


def test_cancelling_is_ctrl_c(tmp_path: Path) -> None:
    jobs = jobs_of(
        tmp_path,
        "import time\ntry:\n    print('begun', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('whole')",
    )
    job = jobs.start("x")
    until(lambda: "begun" in jobs.tail(job.id))
    waiting = jobs.start("y")
    assert jobs.cancel(waiting.id) is not None
    assert (jobs.get(waiting.id) or waiting).state == "cancelled"
    jobs.cancel(job.id)
    assert ended(jobs, job).state == "cancelled"
    assert jobs.tail(job.id).split() == ["begun", "whole"]
    assert jobs.cancel(job.id) == jobs.get(job.id)
    assert jobs.cancel("nothing") is None
    assert jobs.tail("../../etc/passwd") == ""


def test_who_does_not_heed_it_is_killed(tmp_path: Path) -> None:
    jobs = jobs_of(
        tmp_path,
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
        patience_s=0.2,
    )
    job = jobs.start("x")
    until(lambda: "deaf" in jobs.tail(job.id))
    jobs.cancel(job.id)
    assert ended(jobs, job).state == "cancelled"


def test_the_end_of_the_backend_ends_what_runs(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, "import time; print('begun', flush=True); time.sleep(60)")
    job = jobs.start("x")
    until(lambda: "begun" in jobs.tail(job.id))
    jobs.start("y")
    jobs.close()
    assert ended(jobs, job).state == "interrupted"
    assert [one.state for one in jobs.all()] == ["queued", "interrupted"]


def test_what_a_killed_backend_left_is_told_as_cut_off(tmp_path: Path) -> None:
    left = Job("20260101-120000-000000", "x", "running", "2026-01-01T12:00:00+00:00")
    (tmp_path / f"{left.id}.json").write_text(json.dumps(left.__dict__))
    (tmp_path / "torn.json").write_text('{"id": "to')
    jobs = jobs_of(tmp_path, "")
    assert [one.state for one in jobs.all()] == ["interrupted"]
    assert json.loads((tmp_path / f"{left.id}.json").read_bytes())["state"] == "interrupted"


def test_a_command_that_cannot_be_started_has_failed(tmp_path: Path) -> None:
    jobs = Jobs(("/nowhere/pipeline",), tmp_path, lambda: datetime.now(UTC))
    job = jobs.start("x")
    assert job.state == "failed"
    assert "cannot be started" in jobs.tail(job.id)


def test_old_jobs_are_forgotten(tmp_path: Path) -> None:
    for number in range(60):
        old = Job(f"2026010{number // 10}-{number:06d}-000000", "x", "done", "2026-01-01T12:00:00+00:00")
        (tmp_path / f"{old.id}.json").write_text(json.dumps(old.__dict__))
    assert len(jobs_of(tmp_path, "").all()) == 50
    assert len(list(tmp_path.glob("*.json"))) == 50


class HandTimer:
    """A timer whose time is over when the test says so."""

    running: ClassVar[list[HandTimer]] = []

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self.seconds = seconds
        self.over = over
        self.daemon = False

    def start(self) -> None:
        self.running.append(self)

    def cancel(self) -> None:
        self.running.remove(self)


def test_changes_are_waited_for_and_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.label_studio.backend.hints.threading.Timer", HandTimer)
    monkeypatch.setattr(HandTimer, "running", [])
    started: list[str] = []
    hints = Hints(started.append, run_after=3, quiet_s=7.5)
    for _ in range(2):
        assert hints.hear("ANNOTATION_CREATED") == "ANNOTATION_CREATED"
    assert HandTimer.running == [], "two are not enough"
    for _ in range(5):
        hints.hear("ANNOTATION_UPDATED")
    [timer] = HandTimer.running  # each change began the quiet time anew
    assert (timer.seconds, started) == (7.5, [])
    timer.over()
    assert started == ["7 changed annotations"]
    hints.hear("ANNOTATION_CREATED")
    assert HandTimer.running == [timer], "counting begins at nothing"


def test_after_the_quiet_time_it_starts_by_itself() -> None:
    started: list[str] = []
    hints = Hints(started.append, run_after=1, quiet_s=0.01)
    hints.hear("ANNOTATION_CREATED")
    until(lambda: started == ["1 changed annotations"])


def test_start_training_starts_at_once_and_the_rest_nothing() -> None:
    started: list[str] = []
    hints = Hints(started.append, run_after=0, quiet_s=0.0)
    assert hints.hear("START_TRAINING") == "START_TRAINING"
    assert hints.hear("x" * 60) == "other"
    hints.hear("ANNOTATION_CREATED")
    hints.close()
    assert started == ["Start Training"]


def test_jobs_over_http(tmp_path: Path) -> None:
    lent = services(run_command=python(waiting_for(tmp_path / "go") + "print('round 1')"), jobs=tmp_path)
    with talking(lent, limits=Limits()) as client:
        hint = {"action": "START_TRAINING", "project": {"id": 1}}
        assert client.post("/webhook", json=hint).json() == {"status": "heard"}
        [job] = client.get("/jobs").json()["jobs"]
        assert job["state"] == "running", "it was heard without waiting for the job's end"
        (tmp_path / "go").touch()
        until(lambda: client.get(f"/jobs/{job['id']}").json()["state"] == "done")
        assert client.get(f"/jobs/{job['id']}").json()["log"] == "round 1\n"
        assert client.delete(f"/jobs/{job['id']}").json()["state"] == "done"
        assert client.post("/jobs", json={}).status_code == 202
        assert client.get("/jobs/nothing").status_code == 404
        assert client.delete("/jobs/..%2f..%2fetc").status_code == 404
        assert client.post("/webhook", json={"action": 7}).status_code == 422


def test_without_a_command_there_are_no_jobs() -> None:
    with talking(services()) as client:
        assert client.get("/jobs").json() == {"jobs": []}
        assert client.post("/jobs", json={}).status_code == 409
        assert client.post("/webhook", json={"action": "START_TRAINING"}).status_code == 200
