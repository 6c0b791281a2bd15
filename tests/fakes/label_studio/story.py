"""One story at the fake Label Studio, told again and again while requests fail: nothing may be lost or doubled.

Six images are submitted with a backend to be connected; two people answer, change, skip and take back; the loop
collects twice. Whenever a run ends in an error, or is killed, the next one begins anew with what is on the disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from PIL import Image

from connectors.annotators import label_studio
from connectors.label_studio.client import Client
from connectors.label_studio.project import PREDICTIONS, SECRET_HEADER
from pipeline.domain.records import State
from pipeline.errors import BackendError
from pipeline.ports import Annotator, Collected, NoAnswer, TaskItem
from tests.fakes.answers_label_studio import drawn_row
from tests.fakes.label_studio import PERSONAL_TOKEN, FakeLabelStudio
from tests.fakes.people import NOW, SIZE_HW, proposed, resources, task

__all__ = ["REQUESTS", "STORY_SECRET", "Killed", "Outcome", "Request", "tell"]

_IMAGES = 6
_RUNS = 12
"""After so many runs a story that has not ended never will."""
_TIMEOUT_S = 0.2
STORY_SECRET = "0123456789abcdef"
"""What the environment must hold under `connectors.label_studio.project.SECRET`."""


@dataclass(frozen=True)
class Request:
    """What fails: in which part of the story, and which address."""

    name: str
    chapter: str
    method: str
    part: str


REQUESTS = (
    Request("log in", "submit", "POST", "/api/token/refresh"),
    Request("find the project", "submit", "GET", "/api/projects/?"),
    Request("make the project", "submit", "POST", "/api/projects/?"),
    Request("connect the backend", "submit", "POST", "/api/ml/"),
    Request("mend the webhook", "submit", "PATCH", "/api/webhooks/"),
    Request("store an image", "submit", "POST", "import?commit"),
    Request("look for tasks", "submit", "GET", "/api/tasks/"),
    Request("import tasks", "submit", "POST", "import?return"),
    Request("choose what is shown", "submit", "PATCH", "/api/projects/"),
    Request("open the project", "first", "GET", "/api/projects/"),
    Request("list answers", "first", "GET", "/api/tasks/"),
    Request("read an answer", "first", "GET", "/api/annotations/"),
    Request("list people", "first", "GET", "/api/users/"),
    Request("list changes", "second", "GET", "/api/tasks/"),
    Request("read a change", "second", "GET", "/api/annotations/"),
)


class Killed(BaseException):
    """The process ends here: nothing of ours may catch it."""


@dataclass
class Outcome:
    """`wrong` says what was lost or doubled; `runs` how often the loop began anew; `errors` what ended a run."""

    wrong: list[str] = field(default_factory=list)
    runs: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    waited_s: float = 0.0
    failures: int = 0


def tell(
    fake: FakeLabelStudio, work: Path, request: Request, kinds: Sequence[str], *, killed: bool = False
) -> Outcome:
    """The story while `request` fails as `kinds` say. `killed`: the process ends as soon as it would wait once.

    The kind "connection refused" takes the server down: until a run has failed where there are several, else until it
    is waited for.
    """
    told = _Told(fake, work, request, list(kinds), killed)
    for chapter in ("submit", "first", "second"):
        told.read(chapter)
    told.judge()
    return told.outcome


class _Told:
    def __init__(
        self, fake: FakeLabelStudio, work: Path, request: Request, kinds: list[str], killed: bool
    ) -> None:
        self.outcome = Outcome()
        self._fake = fake
        self._work = work
        self._request = request
        self._kinds = kinds
        self._killed = killed
        self._refused = "connection refused" in kinds
        self._cursor: str | None = None
        self._said: list[Collected | NoAnswer] = []
        self._lent = resources(work / "annotator")
        self._items = _items(work)

    def read(self, chapter: str) -> None:
        """One part of the story, begun anew until it ends well."""
        if chapter == self._request.chapter:
            self._break()
        acts: Mapping[str, Callable[[Annotator], None]] = {"submit": self._submit}
        for _ in range(_RUNS):
            self.outcome.runs += 1
            try:
                acts.get(chapter, self._collect)(self._annotator())
            except (BackendError, Killed) as exc:
                self.outcome.errors[type(exc).__name__] += 1
                self.outcome.failures += self._refused and self._fake.is_away
                self._fake.back()
                continue
            break
        else:
            self.outcome.wrong.append(f"{chapter} does not end")
        if chapter == "submit":
            _people_answer(self._fake)
        elif chapter == "first":
            _people_change_their_minds(self._fake)
        if chapter == self._request.chapter and not self._refused:
            self.outcome.failures = len(self._kinds) - self._fake.faults.left

    def _break(self) -> None:
        if self._refused:
            self._fake.away()
        else:
            self._fake.faults.plan(self._request.method, self._request.part, *self._kinds)

    def _annotator(self) -> Annotator:
        settings = label_studio.Settings(
            url=self._fake.url, project="a story", backend="http://backend:9090", timeout_s=_TIMEOUT_S
        )
        client = Client(self._fake.url, PERSONAL_TOKEN, timeout_s=_TIMEOUT_S, sleep=self._wait)
        return label_studio.build(settings, self._lent, client=client)

    def _wait(self, pause_s: float) -> None:
        self.outcome.waited_s += pause_s
        self.outcome.failures += self._refused and self._fake.is_away
        if self._refused and len(self._kinds) == 1:
            self._fake.back()
        if self._killed:
            self._killed = False
            raise Killed

    def _submit(self, annotator: Annotator) -> None:
        annotator.submit(self._items[:3])
        annotator.submit(self._items)

    def _collect(self, annotator: Annotator) -> None:
        """As the loop does: each answer is recorded with its cursor."""
        self._lent = replace(self._lent, now=lambda: NOW + timedelta(hours=self.outcome.runs))
        for said in annotator.collect(self._cursor):
            if isinstance(said, (Collected, NoAnswer)):
                self._said.append(said)
                self._cursor = said.cursor

    def judge(self) -> None:
        state, wrong = self._fake.state, self.outcome.wrong
        wrong += _not("projects", len(state.projects), 1)
        wrong += _not("backends", len(state.backends), 1)
        wrong += _not("webhooks' headers", [one["headers"] for one in state.webhooks.values()], [_HEADERS])
        keys = [one["data"]["maskloop_key"].partition("/")[2] for one in state.tasks.values()]
        wrong += _not("tasks", keys, [f"1/{item.sample.id}" for item in self._items])
        wrong += _not("versions shown", [one["model_version"] for one in state.projects.values()], [_VERSION])
        places = {one["data"]["image"] for one in state.tasks.values()}
        wrong += _not("images stored", places - state.files.keys(), set())
        names = {item.sample.id: number for number, item in enumerate(self._items)}
        wrong += _not("answers", [_summary(one, names) for one in self._said], _EXPECTED)


_HEADERS = {SECRET_HEADER: STORY_SECRET}
_VERSION = PREDICTIONS


def _not(what: str, found: object, wanted: object) -> list[str]:
    return [] if found == wanted else [f"{what}: {found!r:.300}, not {wanted!r:.300}"]


def _items(work: Path) -> list[TaskItem]:
    work.mkdir(parents=True, exist_ok=True)
    path = work / "image.jpg"
    if not path.exists():
        Image.new("RGB", SIZE_HW[::-1], (9, 99, 199)).save(path)
    items = [task([proposed(f"m{number}", (5, 5, 25, 25))], f"s{number}") for number in range(_IMAGES)]
    return [replace(item, sample=replace(item.sample, path=path)) for item in items]


def _people_answer(fake: FakeLabelStudio) -> None:
    """One person accepts what is shown in every picture; there is a draft, which is no answer."""
    fake.state.users.append({"id": 2, "email": "second@example.org", "username": "", "first_name": ""})
    for number, one in list(fake.state.tasks.items()):
        fake.state.draft(number, {"result": [drawn_row()]})
        fake.state.annotate(number, {"result": one["predictions"][0]["result"], "lead_time": 2})


def _people_change_their_minds(fake: FakeLabelStudio) -> None:
    """Changed, skipped, taken back, answered by somebody else; two are left alone."""
    answers = {one["task"]: key for key, one in fake.state.annotations.items()}
    tasks = list(answers)
    fake.state.change_annotation(answers[tasks[0]], {"result": [drawn_row()]})
    fake.state.change_annotation(answers[tasks[1]], {"was_cancelled": True})
    fake.state.delete_annotation(answers[tasks[2]])
    fake.state.annotate(tasks[3], {"result": [], "lead_time": 1}, by=2)


_FIRST = "person@example.org"
_EXPECTED = [
    *((number, _FIRST, "1 of 1 accepted") for number in range(_IMAGES)),
    (0, _FIRST, "0 of 2 accepted"),
    (1, _FIRST, "skipped"),
    (2, "label_studio", "withdrawn"),
    (3, "second@example.org", "0 of 1 accepted"),
]


def _summary(said: Collected | NoAnswer, names: Mapping[str, int]) -> tuple[int, str, str]:
    if isinstance(said, NoAnswer):
        return names[said.sample_id], said.author, said.reason
    states = [one.state for one in said.annotation.instances]
    author = said.annotation.origin.name
    return names[said.annotation.sample_id], author, f"{states.count(State.ACCEPTED)} of {len(states)} accepted"
