"""Rounds that the backend starts: one process at a time, each with its state, its log, and a way to stop it.

A job is `pipeline run` in a process of its own, which holds the workspace's lock: so nothing here can harm a run that a
person has started. A record lies beside each log. The processes end with the backend, in order; a record that still
says "running" when the backend starts was cut off, and says so from then on. `pipeline run` goes on where it was.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

__all__ = ["Job", "JobState", "Jobs"]

_log = logging.getLogger(__name__)

JobState = Literal["queued", "running", "done", "waiting", "failed", "cancelled", "interrupted"]
_ENDED: tuple[JobState, ...] = ("done", "waiting", "failed", "cancelled", "interrupted")
_WAITING_CODE = 3
_TAIL_BYTES = 8192
_KEPT = 50


@dataclass(frozen=True)
class Job:
    """One run. `reason` says who wanted it; "waiting" is a run that has ended because people must answer first."""

    id: str
    reason: str
    state: JobState
    created: str
    started: str | None = None
    ended: str | None = None
    exit_code: int | None = None


class Jobs:
    """At most one runs and one waits: a run does all that there is to do, so that a third would find nothing."""

    def __init__(
        self,
        command: tuple[str, ...],
        folder: Path,
        now: Callable[[], datetime],
        *,
        patience_s: float = 20.0,
        told: Callable[[list[Job]], None] = lambda _: None,
    ) -> None:
        self._command = command
        self._folder = folder
        self._now = now
        self._patience_s = patience_s
        self._told = told
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled: set[str] = set()
        self._ending = False
        folder.mkdir(parents=True, exist_ok=True)
        self._read()

    def start(self, reason: str) -> Job:
        """A new job, or the one that is queued already."""
        with self._lock:
            waiting = next((job for job in self._jobs.values() if job.state == "queued"), None)
            if waiting is not None:
                return waiting
            stamp = self._now()
            job = Job(f"{stamp:%Y%m%d-%H%M%S}-{stamp.microsecond:06d}", reason, "queued", stamp.isoformat())
            self._keep(job)
            if not any(other.state == "running" for other in self._jobs.values()):
                self._begin(job)
            return self._jobs[job.id]

    def all(self) -> list[Job]:
        """Newest first."""
        with self._lock:
            return sorted(self._jobs.values(), key=lambda job: job.id, reverse=True)

    def get(self, job_id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def tail(self, job_id: str) -> str:
        """The end of a job's log; "" for one that is unknown or has said nothing yet."""
        if self.get(job_id) is None:
            return ""
        try:
            with self._log_of(job_id).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def cancel(self, job_id: str) -> Job | None:
        """As Ctrl-C would: what is finished stays. None for an unknown one; one that has ended stays as it is."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state in _ENDED:
                return job
            if job.state == "queued":
                self._keep(replace(job, state="cancelled", ended=self._now().isoformat()))
                return self._jobs[job_id]
            self._cancelled.add(job_id)
            process = self._process
        if process is not None:
            threading.Thread(target=self._stop, args=(process,), daemon=True).start()
        return job

    def close(self) -> None:
        """Stop what runs, as Ctrl-C would, and start nothing more."""
        with self._lock:
            self._ending = True
            process = self._process
        if process is not None:
            self._stop(process)

    def _begin(self, job: Job) -> None:
        """Start the process; called with the lock held."""
        with self._log_of(job.id).open("wb") as log:
            try:
                process = subprocess.Popen(  # noqa: S603  # the command is the server's own
                    self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as exc:
                log.write(f"cannot be started: {exc.strerror}\n".encode())
                self._keep(replace(job, state="failed", ended=self._now().isoformat()))
                return
        self._process = process
        self._keep(replace(job, state="running", started=self._now().isoformat()))
        threading.Thread(target=self._watch, args=(job.id, process), name="job", daemon=True).start()

    def _watch(self, job_id: str, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._lock:
            job = self._jobs[job_id]
            self._keep(
                replace(job, state=self._ended(job_id, code), ended=self._now().isoformat(), exit_code=code)
            )
            self._process = None
            waiting = next((other for other in self._jobs.values() if other.state == "queued"), None)
            if waiting is not None and not self._ending:
                self._begin(waiting)

    def _ended(self, job_id: str, code: int) -> JobState:
        if job_id in self._cancelled:
            return "cancelled"
        if code in {0, _WAITING_CODE}:
            return "waiting" if code else "done"
        return "interrupted" if self._ending else "failed"

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """The process and its children: SIGINT, and SIGKILL for those that do not heed it in time."""
        for signal_, patience_s in ((signal.SIGINT, self._patience_s), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(process.pid, signal_)
            except ProcessLookupError:
                return
            until = time.monotonic() + patience_s
            while time.monotonic() < until:
                if process.poll() is not None:
                    return
                time.sleep(0.02)

    def _keep(self, job: Job) -> None:
        self._jobs[job.id] = job
        path = self._folder / f"{job.id}.json"
        fresh = path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(asdict(job)) + "\n", encoding="utf-8")
            fresh.replace(path)
        except OSError as exc:
            _log.warning("the record of job %s cannot be written: %s", job.id, exc.strerror)
        self._forget()
        self._told(list(self._jobs.values()))

    def _forget(self) -> None:
        """The oldest records and logs go."""
        ended = sorted(job.id for job in self._jobs.values() if job.state in _ENDED)
        for job_id in ended[: max(0, len(self._jobs) - _KEPT)]:
            del self._jobs[job_id]
            (self._folder / f"{job_id}.json").unlink(missing_ok=True)
            self._log_of(job_id).unlink(missing_ok=True)

    def _read(self) -> None:
        """The records of earlier backends: what they did not see end was cut off."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                job = Job(**json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError):
                _log.warning("%s is no record of a job", path.name)
                continue
            self._keep(job if job.state in _ENDED else replace(job, state="interrupted"))

    def _log_of(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.log"
