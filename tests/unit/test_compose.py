"""compose.yaml against the Compose specification, as far as it is used, and our own rules: no engine runs here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.label_studio.doctor.advisories import advisories_of
from connectors.serving.secrets import MIN_SECRET
from pipeline.wiring import load_config

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: Mapping[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: Mapping[str, Any] = COMPOSE["services"]
SERVICE_KEYS = {
    "image": str,
    "build": dict,
    "restart": str,
    "depends_on": dict,
    "ports": list,
    "volumes": list,
    "environment": dict,
    "healthcheck": dict,
    "command": list,
    "entrypoint": list,
}
"""Those of https://github.com/compose-spec/compose-spec that are used, with the form in which they are."""
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
DURATION = re.compile(r"(\d+(h|m|s|ms|us))+")
TAG = re.compile(r"[a-z0-9./-]+:[\w][\w.-]*")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?:(:?[-?])([^}]*))?\}")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN$|API_KEY")


def strings(value: object) -> Iterator[str]:
    """Every text in a tree."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def test_the_file_has_only_sections_of_the_specification() -> None:
    assert set(COMPOSE) == {"name", "services", "volumes"}
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", COMPOSE["name"])
    assert set(SERVICES) == {"label-studio", "backend", "postgres", "minio", "bucket"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_the_specifications_form(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= set(SERVICE_KEYS)
    for key, value in service.items():
        assert isinstance(value, SERVICE_KEYS[key]), key
    assert service["restart"] in {"no", "always", "on-failure", "unless-stopped"}
    for value in service.get("environment", {}).values():
        assert isinstance(value, str), "numbers and truths are quoted: YAML would change them"
    for line in (*service.get("command", ()), *service.get("entrypoint", ())):
        assert isinstance(line, str)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert TAG.fullmatch(image), image
    assert not image.endswith(":latest")


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_there(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert set(how) == {"condition"}
        assert how["condition"] in CONDITIONS
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service["restart"] != "no"])
def test_what_goes_on_is_watched(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert set(check) <= HEALTH_KEYS
    assert check["test"][0] == "CMD"
    assert isinstance(check["retries"], int)
    for key in ("interval", "timeout", "start_period"):
        assert DURATION.fullmatch(check.get(key, "1s"))


def test_volumes_are_declared_or_folders() -> None:
    used = {line.partition(":")[0] for service in SERVICES.values() for line in service.get("volumes", ())}
    assert {one for one in used if not one.startswith("./")} == set(COMPOSE["volumes"])


def test_nothing_is_published_to_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)


def test_secrets_come_from_the_environment_and_are_demanded() -> None:
    found = 0
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key) and value not in {"true", "false"}:
                match = VARIABLE.fullmatch(value)
                assert match is not None, f"{key} is written out"
                assert match[2] == ":?", f"{key} may be left empty"
                found += 1
    assert found >= 8


def test_every_variable_is_in_the_example_and_the_other_way_round() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    rows = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    assert {match[1] for text in strings(COMPOSE) for match in VARIABLE.finditer(text)} == set(rows)
    assert [value for key, value in rows.items() if SECRET.search(key) and value] == [], "a secret that all know"
    assert f"{MIN_SECRET} characters or more" in example


def test_the_real_env_file_is_never_committed() -> None:
    assert "/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*", (
        "only what is named gets in"
    )


def test_label_studio_has_the_switches_that_it_needs() -> None:
    service = SERVICES["label-studio"]
    release = service["image"].rpartition(":")[2]
    assert advisories_of(release) == []
    assert f"label-studio=={release}" in (ROOT / "constraints-label-studio.txt").read_text(encoding="utf-8")
    switches = service["environment"]
    wanted = {
        "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
        "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    }
    assert {key: switches.get(key) for key in wanted} == wanted
    assert switches["POSTGRE_HOST"] in SERVICES
    assert switches["POSTGRE_NAME"] == SERVICES["postgres"]["environment"]["POSTGRES_DB"]
    assert switches["POSTGRE_USER"] == SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    assert switches["STORAGE_AWS_ACCESS_KEY_ID"] == SERVICES["minio"]["environment"]["MINIO_ROOT_USER"]
    assert f"store/{switches['STORAGE_AWS_BUCKET_NAME']}" in SERVICES["bucket"]["command"][0]


def test_the_backend_serves_a_configuration_that_fits_the_services() -> None:
    command = SERVICES["backend"]["command"]
    assert command[0] == "serve"
    config = load_config(ROOT / command[1])
    annotator = config.annotator.settings
    assert annotator["url"] == "http://label-studio:8080"
    assert annotator["backend"] == f"http://backend:{command[command.index('--port') + 1]}"
    assert config.workspace.relative_to(ROOT).parts[0] == "runs"
    assert config.ingest.sources[0].path == ROOT / "images"


def test_the_dockerfile_copies_what_is_there_and_is_nobodys_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    [base] = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert TAG.fullmatch(base)
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [part for line in lines if line.startswith("COPY ") for part in line.split()[1:-1]]
    assert set(copied) == let_in
    assert all((ROOT / part).exists() for part in copied)
    assert "USER maskloop" in lines
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [named] = re.findall(r"'\.\[([\w,-]+)\]'", "\n".join(lines))
    assert set(named.split(",")) <= set(extras)
