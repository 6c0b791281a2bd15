"""The client: both kinds of token, patience where it does no harm, and errors that say what to do."""

from __future__ import annotations

import logging

import pytest

from connectors.label_studio.client import Client
from connectors.label_studio.credentials import Credentials
from pipeline.errors import BackendRejected, BackendUnavailable, ConfigError
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, FakeLabelStudio
from tests.fakes.label_studio.state import VERSION


def imported(fake: FakeLabelStudio, number: int) -> int:
    """A project with so many tasks."""
    project = int(fake.state.make_project({"title": "tasks"})["id"])
    rows = [{"data": {"image": "/x", "maskloop_key": f"key/1/{one}"}} for one in range(number)]
    fake.state.import_tasks(project, rows)
    return project


def test_a_personal_token_is_exchanged_once(fake: FakeLabelStudio, client: Client) -> None:
    for _ in range(3):
        assert client.whoami()["id"] == 1
    assert fake.state.refreshed == 1


def test_an_access_token_that_ran_out_is_renewed_unseen(fake: FakeLabelStudio, client: Client) -> None:
    client.whoami()
    fake.state.access = "another"
    assert client.whoami()["id"] == 1
    assert fake.state.refreshed == 2


def test_what_is_made_is_made_once_although_the_token_ran_out(fake: FakeLabelStudio, client: Client) -> None:
    client.whoami()
    fake.state.access = "another"
    client.create("/api/projects/", {"title": "a project"}, "make")
    assert len(fake.state.projects) == 1


def test_a_legacy_token_is_sent_as_it_is(fake: FakeLabelStudio) -> None:
    client = Client(fake.url, LEGACY_TOKEN)
    assert client.version() == VERSION
    assert client.whoami()["id"] == 1
    assert fake.state.refreshed == 0


@pytest.mark.parametrize(
    ("token", "todo"),
    [
        (LEGACY_TOKEN, "use a personal access token, or allow legacy ones"),
        ("0" * 40, "look it up in Account & Settings"),
        ("not.the.one", "make a new personal access token"),
    ],
)
def test_a_token_that_is_not_taken_says_what_to_do(fake: FakeLabelStudio, token: str, todo: str) -> None:
    fake.state.legacy_allowed = False
    with pytest.raises(BackendRejected, match=todo) as caught:
        Client(fake.url, token).whoami()
    assert token not in str(caught.value)


@pytest.mark.parametrize("token", ["", "  ", "two words", "schlüssel", "a\x00b"])
def test_what_is_no_token_is_refused_at_once(token: str) -> None:
    with pytest.raises(ConfigError, match="LABEL_STUDIO_API_KEY"):
        Credentials(token)


@pytest.mark.parametrize("token", [PERSONAL_TOKEN, LEGACY_TOKEN])
def test_tokens_are_shown_to_nobody(fake: FakeLabelStudio, token: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client(fake.url, token, sleep=lambda _: None)
    client.whoami()
    fake.faults.plan("GET", "/api/users/", *["500"] * 5)
    with pytest.raises(BackendUnavailable) as caught:
        client.users()
    shown = caplog.text + str(caught.value) + repr(client.credentials) + repr(client) + str(vars(client))
    assert token not in shown
    assert fake.state.access not in caplog.text


@pytest.mark.parametrize(
    "fault", ["429", "500", "502", "503", "504 after the work", "half the JSON", "a page with 200", "too late"]
)
def test_reading_is_tried_again(fake: FakeLabelStudio, client: Client, pauses: list[float], fault: str) -> None:
    fake.faults.plan("GET", "/api/users/", fault, fault)
    assert client.users() == {1: "person@example.org"}
    assert fake.faults.seen["GET /api/users/"] == 3
    assert len(pauses) == 2
    assert pauses[0] < pauses[1] or fault in {"429", "503"}


def test_the_server_says_how_long_to_wait(fake: FakeLabelStudio, client: Client, pauses: list[float]) -> None:
    fake.faults.plan("GET", "/api/users/", "429")
    client.users()
    assert pauses == [1.0]


def test_patience_ends_with_what_to_do(fake: FakeLabelStudio, client: Client, pauses: list[float]) -> None:
    fake.away()
    with pytest.raises(
        BackendUnavailable, match=r"start Label Studio, or put its address right \(annotator.url\)"
    ):
        client.whoami()
    assert len(pauses) == 4
    assert sum(pauses) < 10


def test_pages_of_a_proxy_are_no_answer(fake: FakeLabelStudio, client: Client) -> None:
    fake.faults.plan("GET", "/api/users/", *["a page with 200"] * 9)
    with pytest.raises(BackendUnavailable, match="no JSON but text/html: perhaps a proxy's page"):
        client.users()


@pytest.mark.parametrize(
    "fault", ["answer lost", "500", "502", "503", "a page with 200", "half the JSON", "too late"]
)
def test_making_is_not_tried_again(fake: FakeLabelStudio, client: Client, fault: str) -> None:
    fake.faults.plan("POST", "/api/projects/", fault)
    with pytest.raises(BackendUnavailable):
        client.create("/api/projects/", {"title": "a project"}, "make the project")
    assert fake.faults.seen["POST /api/projects/"] == 1


@pytest.mark.parametrize("fault", ["429", "token expired"])
def test_making_is_tried_again_where_it_cannot_have_been_done(
    fake: FakeLabelStudio, client: Client, fault: str
) -> None:
    fake.faults.plan("POST", "/api/projects/", fault)
    client.create("/api/projects/", {"title": "a project"}, "make the project")
    assert len(fake.state.projects) == 1


def test_a_refusal_says_what_was_found(client: Client) -> None:
    with pytest.raises(BackendRejected, match="at least 3 characters"):
        client.create("/api/projects/", {"title": "ab"}, "make the project")


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 200, 250])
def test_listings_are_read_to_their_end(fake: FakeLabelStudio, client: Client, number: int) -> None:
    rows = list(client.tasks(imported(fake, number), key="key/"))
    assert [row["data"]["maskloop_key"] for row in rows] == [f"key/1/{one}" for one in range(number)]


def test_tasks_are_found_by_key_and_time(fake: FakeLabelStudio, client: Client) -> None:
    project = imported(fake, 3)
    between = fake.state.clock
    fake.state.annotate(next(iter(fake.state.tasks)), {})
    assert [row["data"]["maskloop_key"] for row in client.tasks(project, since=between)] == ["key/1/0"]
    assert [row["data"]["maskloop_key"] for row in client.tasks(project, key="/1/2")] == ["key/1/2"]


def test_an_annotation_that_is_gone_is_none(client: Client) -> None:
    assert client.annotation(77) is None


def test_an_upload_comes_back(fake: FakeLabelStudio, client: Client) -> None:
    place = client.upload(imported(fake, 0), "a.png", b"\x89PNG\r\n\x1a\n\r\n\x00", "image/png")
    assert client.media(place).content == b"\x89PNG\r\n\x1a\n\r\n\x00"
    assert len(fake.state.tasks) == 0


@pytest.mark.parametrize("path", ["https://elsewhere.example/x", "//elsewhere.example/x", "data/x"])
def test_the_token_goes_nowhere_else(client: Client, path: str) -> None:
    with pytest.raises(BackendRejected, match="no address of its own"):
        client.media(path)
