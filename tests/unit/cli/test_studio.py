"""`pipeline studio` before anything is started; the rest is an integration test."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli.serving import SECRET
from pipeline.cli.studio import _Keys, studio
from pipeline.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[3]


def start(*arguments: str) -> Result:
    return CliRunner().invoke(studio, list(arguments))


def test_another_annotator_is_refused(tmp_path: Path) -> None:
    result = start(str(REPOSITORY / "configs" / "dry.yaml"), "--folder", str(tmp_path / "studio"))
    assert isinstance(result.exception, ConfigError)
    assert result.exception.key == "annotator.kind"
    assert not (tmp_path / "studio").exists()


def test_without_label_studio_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_LABEL_STUDIO", str(tmp_path / "nowhere"))
    result = start(str(REPOSITORY / "configs" / "studio.yaml"), "--folder", str(tmp_path / "studio"))
    assert isinstance(result.exception, ConfigError)
    assert "make label-studio" in str(result.exception)


def test_keys_are_drawn_once_and_read_by_their_owner_alone(tmp_path: Path) -> None:
    keys = _Keys.of(tmp_path / "env")
    assert stat.S_IMODE((tmp_path / "env").stat().st_mode) == 0o600
    assert _Keys.of(tmp_path / "env").values == keys.values
    account = keys.account()
    assert len(account.legacy_token) == 40
    assert len(keys.values[SECRET]) >= 16
    assert _Keys.of(tmp_path / "other").values != keys.values
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == []


def test_keys_are_lines_for_a_shell(tmp_path: Path) -> None:
    keys = _Keys.of(tmp_path / "env")
    assert (tmp_path / "env").read_text().splitlines() == [f"export {k}='{v}'" for k, v in keys.values.items()]


def test_a_file_that_lacks_a_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("export MASKLOOP_STUDIO_LOGIN='somebody'\n")
    with pytest.raises(ConfigError, match="MASKLOOP_STUDIO_PASSWORD"):
        _Keys.of(tmp_path / "env").account()
