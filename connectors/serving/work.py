"""A bounded amount of work: places, threads, and bodies that are never larger than what is taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.errors import PipelineError

__all__ = ["Places", "Refusal", "in_thread", "read_body", "refused"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Refusal(Exception):
    """An answer that is no error of the house: `{"error": {"type", "message", …}}` with an HTTP status."""

    def __init__(self, status: int, kind: str, message: str, **more: object) -> None:
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **more}}
        super().__init__(message)


def refused(_request: Request, exc: Refusal) -> Response:
    """A refusal as its answer. What is left of a refused body would be read as the next request: so the line is
    closed."""
    headers = {"Connection": "close"} if exc.status in {408, 413, 415} else {}
    if exc.status == 503:
        headers["Retry-After"] = "1"
    return JSONResponse(exc.body, exc.status, headers)


class Places:
    """One of a bounded number: what waits holds memory. Of one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self.count = count

    @property
    def taken(self) -> int:
        return self.count - self._free

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Raises Refusal 503 where none is free."""
        if self._free <= 0:
            raise Refusal(503, "Busy", "all places are taken: try again in a second")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


async def in_thread(threads: Executor, work: Callable[[], T], *, quiet: bool = False) -> T:
    """What `work` returns; its errors of the house and its refusals pass.

    A defect becomes Refusal 500 with the number under which the log tells it: with its traceback, or where `quiet`
    with its kind and place alone, because an exception's own words may repeat what somebody sent.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    except (PipelineError, Refusal):
        raise
    except Exception as exc:
        number = uuid.uuid4().hex[:12]
        if quiet:
            _log.error("error %s: %s at %s", number, type(exc).__name__, _places(exc))
        else:
            _log.exception("error %s", number)
        message = f"a defect of the server: error {number} in its log"
        raise Refusal(500, "Internal", message, id=number) from exc


def _places(exc: BaseException) -> str:
    """File, line and function of the innermost calls, the innermost last."""
    found = []
    here = exc.__traceback__
    while here is not None:
        code = here.tb_frame.f_code
        found.append(f"{Path(code.co_filename).name}:{here.tb_lineno} {code.co_name}")
        here = here.tb_next
    return ", ".join(found[-4:])


async def read_body(request: Request, kind: str, *, most: int, timeout_s: float) -> bytes:
    """The whole body, never more of it than is taken. Raises Refusal 408, 413 or 415."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise Refusal(415, "WrongType", f"the body must be {kind}")
    told = request.headers.get("content-length", "")
    too_large = Refusal(413, "TooLarge", f"the body has more than {most} bytes", limit=most)
    if told.isdecimal() and int(told) > most:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise too_large
    except TimeoutError as exc:
        raise Refusal(408, "TooSlow", "the body did not come in time") from exc
    return bytes(data)
