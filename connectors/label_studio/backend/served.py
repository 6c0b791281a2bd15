"""The backend at work: its threads, what it remembers, and what it answers to each request."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from starlette.requests import Request

from connectors.label_studio.backend.bodies import Context, Hint, Predict, Setup, Task, project_of, read
from connectors.label_studio.backend.clicks import Clicks
from connectors.label_studio.backend.fetching import Fetcher
from connectors.label_studio.backend.hints import Hints
from connectors.label_studio.backend.jobs import Job, Jobs
from connectors.label_studio.backend.memory import Memory
from connectors.label_studio.backend.metrics import Metrics, Timings
from connectors.label_studio.backend.pictures import Pictures
from connectors.label_studio.backend.preannotation import preannotations
from connectors.label_studio.backend.services import Limits, Services
from connectors.label_studio.backend.warming import Warmer
from connectors.label_studio.click_log import ClickLog
from connectors.label_studio.labeling_config import Tags, config_problems, read_config
from connectors.serving.work import Places, Refusal, in_thread, read_body

__all__ = ["Served"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_JSON = "application/json"
_configured = lru_cache(maxsize=32)(read_config)


class Served:
    """One backend. Clicks have threads of their own, so that a batch of hundreds of tasks holds up nobody."""

    def __init__(self, services: Services, limits: Limits) -> None:
        self._services = services
        self._limits = limits
        self.metrics = Metrics()
        fetcher = Fetcher(
            services.studio,
            services.allowed,
            services.private,
            most=limits.max_image_bytes,
            timeout_s=limits.fetch_timeout_s,
        )
        self._pictures = Pictures(services, limits, fetcher)
        log = ClickLog(services.click_log) if services.click_log is not None else None
        self._clicks = Clicks(services.segmenter, Memory(limits.kept_sessions_bytes), services.now, log)
        self.places = Places(limits.click_threads + 1 + limits.waiting)
        self._click_threads = ThreadPoolExecutor(limits.click_threads, thread_name_prefix="clicks")
        self._batch_thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._chores = ThreadPoolExecutor(1, thread_name_prefix="chores")
        self._warmer = Warmer(
            services,
            self._pictures,
            self.metrics,
            ahead=limits.warm_ahead,
            busy=lambda: self.places.taken > 0,
        )
        self._jobs = (
            Jobs(services.run_command, services.jobs, services.now, told=self._count_jobs)
            if services.run_command and services.jobs is not None
            else None
        )
        self._hints = Hints(self._run, run_after=limits.run_after, quiet_s=limits.quiet_s)

    def start(self) -> None:
        self._warmer.start()

    def close(self) -> None:
        """Stop what goes on in the background, jobs among it."""
        self._hints.close()
        self._warmer.stop()
        if self._jobs is not None:
            self._jobs.close()
        for threads in (self._click_threads, self._batch_thread, self._chores):
            threads.shutdown(wait=False, cancel_futures=True)

    # --- what Label Studio asks -----------------------------------------------------------------------------

    async def setup(self, request: Request) -> dict[str, Any]:
        """A project was connected, or is looked at. A configuration that cannot be used is told here already."""
        data = await self._body(request, self._limits.max_hint_bytes)

        def work() -> dict[str, Any]:
            asked = read(Setup, data)
            if asked.label_config:
                _configured(asked.label_config)
                _complained(asked.label_config, self._services.classes)
            return {"model_version": self._services.model_version()}

        return await self._chore(work)

    async def versions(self) -> dict[str, Any]:
        return {"versions": [await self._chore(self._services.model_version)]}

    async def predict(self, request: Request, timings: Timings) -> bytes:
        """The answer's JSON."""
        async with self.places.one():
            with timings.part("body"):
                data = await self._body(request, self._limits.max_body_bytes)
            asked, tags = await in_thread(self._click_threads, lambda: self._read(data, timings), quiet=True)
            context = asked.params.context
            if context is None:
                return await in_thread(self._batch_thread, lambda: self._proposed(asked, tags), quiet=True)
            return await in_thread(
                self._click_threads, lambda: self._clicked(asked, context, tags, timings), quiet=True
            )

    async def hint(self, request: Request) -> None:
        data = await self._body(request, self._limits.max_hint_bytes)

        def work() -> None:
            self.metrics.hints.labels(self._hints.hear(read(Hint, data).action)).inc()

        await self._chore(work)

    # --- jobs -----------------------------------------------------------------------------------------------

    async def jobs(self) -> list[Job]:
        return [] if self._jobs is None else self._jobs.all()

    async def job(self, job_id: str) -> tuple[Job, str]:
        """A job and the end of its log. Raises Refusal 404."""
        jobs = self._known_jobs()
        job = _found(jobs.get(job_id))
        return job, await self._chore(lambda: jobs.tail(job_id))

    async def run(self, request: Request) -> Job:
        """Raises Refusal 409 where no run can be started. The body is JSON, so that no page of another site sends
        it unasked; what it holds is not looked at."""
        await self._body(request, self._limits.max_hint_bytes)
        jobs = self._known_jobs()
        return await self._chore(lambda: jobs.start("asked for"))

    async def cancel(self, job_id: str) -> Job:
        jobs = self._known_jobs()
        return _found(await self._chore(lambda: jobs.cancel(job_id)))

    # --- in threads -----------------------------------------------------------------------------------------

    def _read(self, data: bytes, timings: Timings) -> tuple[Predict, Tags]:
        with timings.part("parse"):
            asked = read(Predict, data)
            most = self._limits.max_tasks
            if len(asked.tasks) > most:
                raise Refusal(413, "TooLarge", f"{len(asked.tasks)} tasks at once: send {most}", limit=most)
            context = asked.params.context
            if context is not None and len(context.result) > self._limits.max_points:
                most = self._limits.max_points
                raise Refusal(413, "TooLarge", f"{len(context.result)} prompts: send {most}", limit=most)
            if context is not None and len(asked.tasks) != 1:
                raise Refusal(422, "BadFormat", "clicks are of one task")
            tags = _configured(asked.label_config)
            if self._services.polygons and tags.polygon is not None:
                tags = replace(tags, brush=None)
            return asked, tags

    def _clicked(self, asked: Predict, context: Context, tags: Tags, timings: Timings) -> bytes:
        [task] = asked.tasks
        rows, score = self._clicks.answer(
            project_of(asked.project),
            task,
            context.result,
            tags=tags,
            encoding=lambda: self._pictures.encoding(self._pictures.find(task, tags.value)),
            timings=timings,
        )
        self.metrics.clicks.labels("mask" if rows else "empty").inc()
        with timings.part("json"):
            version = self._services.model_version()
            answer = _json({"results": [{"model_version": version, "score": score, "result": rows}]})
        self._warm_after(task)
        return answer

    def _proposed(self, asked: Predict, tags: Tags) -> bytes:
        results = list(
            preannotations(
                asked.tasks, tags, self._services, self._pictures, self.metrics, batch=self._limits.batch
            )
        )
        self._warm_after(asked.tasks[-1])
        return _json({"results": results})

    def _warm_after(self, task: Task) -> None:
        told = task.data.get("maskloop_sample")
        self._warmer.after(told if isinstance(told, str) else None)

    def _run(self, reason: str) -> None:
        if self._jobs is not None:
            self._jobs.start(reason)

    def _known_jobs(self) -> Jobs:
        if self._jobs is None:
            raise Refusal(409, "NoJobs", "this backend starts no runs")
        return self._jobs

    def _count_jobs(self, jobs: list[Job]) -> None:
        for state in ("queued", "running", "done", "waiting", "failed", "cancelled", "interrupted"):
            self.metrics.jobs.labels(state).set(sum(job.state == state for job in jobs))

    async def _body(self, request: Request, most: int) -> bytes:
        return await read_body(request, _JSON, most=most, timeout_s=self._limits.body_timeout_s)

    async def _chore(self, work: Callable[[], T]) -> T:
        return await in_thread(self._chores, work, quiet=True)


@lru_cache(maxsize=32)
def _complained(label_config: str, classes: tuple[str, ...]) -> None:
    """Say once of each configuration what would keep clicks from working: in the editor nothing would happen."""
    for problem in config_problems(label_config, classes):
        _log.warning("the project's labelling configuration: %s", problem)


def _found(job: Job | None) -> Job:
    if job is None:
        raise Refusal(404, "NotFound", "there is no such job")
    return job


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
