"""The project: found or made, the same one for ever, and its backend connected with the secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.label_studio.client import Client
from connectors.label_studio.labeling_config import instructions, labeling_config
from connectors.label_studio.project import PREDICTIONS, SECRET_HEADER, Project, connect_backend
from pipeline.errors import BackendRejected, BackendUnavailable
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.label_studio.state import DOCUMENT_ROOT
from tests.fakes.people import CLASSES

URL = "http://backend:9090"
SECRET = "0123456789abcdef"


def project_of(client: Client, work: Path, wanted: str | int = "rings") -> Project:
    return Project(client, work, wanted, CLASSES)


def made(fake: FakeLabelStudio, title: str = "rings", **more: Any) -> int:
    """A project that somebody has made by hand."""
    return int(fake.state.make_project({"title": title, "label_config": labeling_config(CLASSES), **more})["id"])


def test_a_project_is_made_with_all_that_clicks_need(
    fake: FakeLabelStudio, client: Client, tmp_path: Path
) -> None:
    tags = project_of(client, tmp_path).open()
    (row,) = fake.state.projects.values()
    assert (tags.brush, tags.labels) == ("brush", CLASSES)
    assert row["title"] == "rings"
    assert row["label_config"] == labeling_config(CLASSES)
    assert (row["expert_instruction"], row["show_instruction"]) == (instructions(CLASSES), True)
    assert (row["sampling"], row["show_collab_predictions"]) == ("Sequential sampling", True)


def test_a_project_is_made_once(fake: FakeLabelStudio, client: Client, tmp_path: Path) -> None:
    for _ in range(2):
        project = project_of(client, tmp_path)
        project.open()
        project.open()
    assert len(fake.state.projects) == 1


def test_a_project_gives_each_task_to_as_many_people_as_are_to_answer(
    fake: FakeLabelStudio, client: Client, tmp_path: Path
) -> None:
    project_of(client, tmp_path).open()
    (row,) = fake.state.projects.values()
    for people, wanted in ((3, 3), (2, 3)):  # more that somebody has set by hand stay
        Project(client, tmp_path, "rings", CLASSES, people=people).open()
        assert row["maximum_annotations"] == wanted


@pytest.mark.parametrize("fault", ["answer lost", "500 after the work", "half the JSON"])
def test_a_project_whose_answer_was_lost_is_found(
    fake: FakeLabelStudio, client: Client, tmp_path: Path, fault: str
) -> None:
    fake.faults.plan("POST", "/api/projects/", fault)
    project = project_of(client, tmp_path)
    project.open()
    assert list(fake.state.projects) == [project.id]


def test_a_project_that_could_not_be_made_is_an_error(
    fake: FakeLabelStudio, client: Client, tmp_path: Path
) -> None:
    fake.faults.plan("POST", "/api/projects/", "request lost")
    with pytest.raises(BackendUnavailable):
        project_of(client, tmp_path).open()
    assert not fake.state.projects


def test_a_project_is_found_by_its_whole_title_the_oldest_first(
    fake: FakeLabelStudio, client: Client, tmp_path: Path
) -> None:
    made(fake, "rings and more")
    older = made(fake)
    made(fake)
    project = project_of(client, tmp_path)
    project.open()
    assert project.id == older


def test_a_project_is_found_by_its_number(fake: FakeLabelStudio, client: Client, tmp_path: Path) -> None:
    number = made(fake, "some other title")
    project = project_of(client, tmp_path, number)
    project.open()
    assert project.id == number
    with pytest.raises(BackendRejected, match="404"):
        project_of(client, tmp_path / "else", 999).open()
    assert len(fake.state.projects) == 1


def test_a_project_that_does_not_fit_is_left_alone(fake: FakeLabelStudio, client: Client, tmp_path: Path) -> None:
    config = labeling_config(("ring",))
    made(fake, label_config=config)
    with pytest.raises(BackendRejected, match=r"lack 'star'.*Change its labelling interface, or name another"):
        project_of(client, tmp_path).open()
    assert [row["label_config"] for row in fake.state.projects.values()] == [config]
    assert not project_of(client, tmp_path).reopen()


def test_a_renamed_project_is_the_same(fake: FakeLabelStudio, client: Client, tmp_path: Path) -> None:
    assert not project_of(client, tmp_path).reopen()
    project_of(client, tmp_path).open()
    (row,) = fake.state.projects.values()
    row["title"] = "a better title"
    again = project_of(client, tmp_path)
    assert again.reopen()
    assert again.id == row["id"]


def test_another_server_is_noticed(fake: FakeLabelStudio, client: Client, tmp_path: Path) -> None:
    project_of(client, tmp_path).open()
    (row,) = fake.state.projects.values()
    row["created_at"] = "2020-01-01T00:00:00.000000Z"
    with pytest.raises(BackendRejected, match=r"is not the one.*annotator.url"):
        project_of(client, tmp_path).reopen()


def test_another_project_in_the_settings_is_noticed(client: Client, tmp_path: Path) -> None:
    project_of(client, tmp_path).open()
    with pytest.raises(BackendRejected, match=r"annotator.project says 'stars': put it back"):
        project_of(client, tmp_path, "stars").open()


def test_before_it_is_open_it_has_no_number(client: Client, tmp_path: Path) -> None:
    with pytest.raises(BackendRejected, match="no project was opened yet"):
        _ = project_of(client, tmp_path).id


def test_the_key_of_a_workspace_is_drawn_once(client: Client, tmp_path: Path) -> None:
    key = project_of(client, tmp_path).key
    assert project_of(client, tmp_path).key == key
    assert project_of(client, tmp_path / "else").key != key


def test_people_are_shown_what_was_imported_although_a_backend_is_there(
    fake: FakeLabelStudio, client: Client, tmp_path: Path
) -> None:
    project = project_of(client, tmp_path)
    project.open()
    connect_backend(client, project.id, URL, SECRET)
    (row,) = fake.state.projects.values()
    assert row["model_version"] == "maskloop"
    prediction = {"model_version": PREDICTIONS, "score": 0.0, "result": []}
    fake.state.import_tasks(project.id, [{"data": {"image": "/x"}, "predictions": [prediction]}])
    for _ in range(2):
        project.show_predictions()
    assert row["model_version"] == PREDICTIONS
    assert fake.faults.seen[f"PATCH /api/projects/{project.id}/"] == 1


def test_a_backend_is_connected_once_and_its_webhook_has_the_secret(
    fake: FakeLabelStudio, client: Client, tmp_path: Path
) -> None:
    project = project_of(client, tmp_path)
    project.open()
    for _ in range(2):
        connect_backend(client, project.id, f"{URL}/", SECRET)
    (backend,) = fake.state.backends.values()
    (hook,) = fake.state.webhooks.values()
    assert (backend["url"], backend["is_interactive"]) == (URL, True)
    assert (backend["auth_method"], backend["basic_auth_user"]) == ("BASIC_AUTH", "maskloop")
    assert backend["basic_auth_pass_is_set"]
    assert hook["url"] == f"{URL}/webhook"
    assert hook["headers"] == {SECRET_HEADER: SECRET}
    assert not hook["send_for_all_actions"]
    assert {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"} <= set(hook["actions"])
    assert fake.faults.seen[f"PATCH /api/webhooks/{hook['id']}/"] == 1


def test_a_backend_that_is_down_stays_connected(fake: FakeLabelStudio, client: Client, tmp_path: Path) -> None:
    project = project_of(client, tmp_path)
    project.open()
    connect_backend(client, project.id, URL, SECRET)
    (backend,) = fake.state.backends.values()
    backend["state"] = "DI"
    connect_backend(client, project.id, URL, SECRET)
    assert len(fake.state.backends) == 1


def test_a_backend_that_moved_takes_its_webhook_along(
    fake: FakeLabelStudio, client: Client, tmp_path: Path
) -> None:
    project = project_of(client, tmp_path)
    project.open()
    connect_backend(client, project.id, URL, SECRET)
    (backend,) = fake.state.backends.values()
    backend["state"] = "DI"
    connect_backend(client, project.id, "http://elsewhere:9091", SECRET)
    assert [row["url"] for row in fake.state.backends.values()] == ["http://elsewhere:9091"]
    assert [row["url"] for row in fake.state.webhooks.values()] == ["http://elsewhere:9091/webhook"]


def test_a_webhook_that_somebody_deleted_is_made_again(
    fake: FakeLabelStudio, client: Client, tmp_path: Path
) -> None:
    project = project_of(client, tmp_path)
    project.open()
    connect_backend(client, project.id, URL, SECRET)
    fake.state.webhooks.clear()
    connect_backend(client, project.id, URL, SECRET)
    assert [hook["headers"] for hook in fake.state.webhooks.values()] == [{SECRET_HEADER: SECRET}]


def test_a_folder_is_added_once(fake: FakeLabelStudio, client: Client, tmp_path: Path) -> None:
    for _ in range(2):
        project = project_of(client, tmp_path)
        project.open()
        project.serve_local_files(Path(DOCUMENT_ROOT, "photos"))
        project.serve_local_files(Path(DOCUMENT_ROOT, "photos"))
    assert [row["path"] for row in fake.state.storages.values()] == [f"{DOCUMENT_ROOT}/photos"]


def test_a_folder_that_is_not_served_says_what_to_do(client: Client, tmp_path: Path) -> None:
    project = project_of(client, tmp_path)
    project.open()
    with pytest.raises(BackendRejected, match=r"subdirectory.*LOCAL_FILES_DOCUMENT_ROOT.*kind: upload"):
        project.serve_local_files(Path("/nowhere"))
