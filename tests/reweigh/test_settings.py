"""Where the command line takes its addresses from."""

from __future__ import annotations

from pathlib import Path

import pytest

from reccore.errors import SettingError
from reweigh import cli
from reweigh.errors import CommandError
from reweigh.metrics_page import metrics_port
from reweigh.settings import export_settings, read_settings, values_and_own


def local_stack(folder: Path) -> Path:
    """Write a ``stack.env`` as the local stack does."""
    file = folder / ".local" / "stack.env"
    file.parent.mkdir(parents=True)
    file.write_text("# written by make up\nREDIS_URL=redis://127.0.0.1:1/0\nKAFKA_BOOTSTRAP=127.0.0.1:2\n\n")
    return file


def test_stack_env_is_found_above_the_current_folder(tmp_path: Path) -> None:
    """A command works from any folder of the checkout."""
    file = local_stack(tmp_path)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    settings = read_settings(environment={}, start=inner)
    assert (settings.redis_url, settings.kafka_bootstrap) == ("redis://127.0.0.1:1/0", "127.0.0.1:2")
    assert settings.source == str(file)


def test_environment_and_stack_env_are_never_mixed(tmp_path: Path) -> None:
    """An address in the environment means another deployment: nothing of the local stack is used."""
    local_stack(tmp_path)
    settings = read_settings(environment={"KAFKA_BOOTSTRAP": "shop:9092"}, start=tmp_path)
    assert (settings.kafka_bootstrap, settings.redis_url) == ("shop:9092", "")
    with pytest.raises(CommandError, match="REDIS_URL is not set in the environment"):
        settings.required("REDIS_URL")


def test_a_named_file_wins(tmp_path: Path) -> None:
    """``--env`` is what was asked for."""
    file = tmp_path / "other.env"
    file.write_text("KAFKA_BOOTSTRAP=other:9092\nEXTRA_EVENT_TYPES=wishlist:wishlist-events\n")
    settings = read_settings(file, environment={"KAFKA_BOOTSTRAP": "shop:9092"})
    assert settings.kafka_bootstrap == "other:9092"
    assert settings.event_types.names == ("view", "add_to_cart", "purchase", "wishlist")


def test_wrong_values_and_files_are_named(tmp_path: Path) -> None:
    """The message says what to change."""
    with pytest.raises(SettingError, match="API_URL='localhost:80'"):
        read_settings(environment={"API_URL": "localhost:80"})
    with pytest.raises(CommandError, match="can't be read"):
        read_settings(tmp_path / "absent.env", environment={})


def test_export_fills_an_environment_that_names_no_address(tmp_path: Path) -> None:
    """Commands of other packages look into the environment."""
    local_stack(tmp_path)
    empty: dict[str, str] = {}
    export_settings(empty, tmp_path)
    assert empty["REDIS_URL"] == "redis://127.0.0.1:1/0"
    own = {"REDIS_URL": "redis://shop/0"}
    export_settings(own, tmp_path)
    assert own == {"REDIS_URL": "redis://shop/0"}


def test_secrets_are_read_and_not_shown(tmp_path: Path) -> None:
    """From the file of addresses as from the environment, or from files that these name."""
    canary = "canary-9d21"
    (tmp_path / "redis").write_text(f"redis://u:{canary}@r:1/0\n")
    (tmp_path / "kafka").write_text(f"{canary}\n")
    file = tmp_path / "some.env"
    file.write_text(
        f"REDIS_URL_FILE={tmp_path}/redis\nZOOKEEPER_AUTH=u:{canary}\nCONFIG_API_KEY={canary},old\n"
        f"KAFKA_SECURITY_PROTOCOL=SASL_SSL\nKAFKA_SASL_USERNAME=u\nKAFKA_SASL_PASSWORD_FILE={tmp_path}/kafka\n"
    )
    settings = read_settings(file, environment={})
    assert settings.required("REDIS_URL") == f"redis://u:{canary}@r:1/0"
    assert (settings.zookeeper_auth, settings.api_key) == (f"u:{canary}", canary)
    assert settings.kafka_access.password == canary
    assert canary not in repr(settings)


def test_a_secret_file_names_a_deployment_too(tmp_path: Path) -> None:
    """Who names one Redis by a file must not be given that of the local stack."""
    local_stack(tmp_path)
    (tmp_path / "redis").write_text("redis://shop/0")
    settings = read_settings(environment={"REDIS_URL_FILE": f"{tmp_path}/redis"}, start=tmp_path)
    assert (settings.redis_url, settings.kafka_bootstrap) == ("redis://shop/0", "")


def test_a_process_own_settings_may_be_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment only what is named is taken beside a file, and an empty text is no value."""
    file = tmp_path / "stack.env"
    file.write_text("API_URL=http://one\nHOST=file\nPORT=1\n")
    monkeypatch.setenv("API_URL", "http://two")
    monkeypatch.setenv("HOST", "")
    monkeypatch.setenv("PORT", "2")
    assert values_and_own(file, ("HOST", "PORT")) == {"API_URL": "http://one", "HOST": "file", "PORT": "2"}


@pytest.mark.parametrize("given", ["-1", "65536", "٣", "1.0"])
def test_a_metrics_port_that_is_none(given: str) -> None:
    """The message names the setting."""
    with pytest.raises(SettingError, match=r"FOLLOW_METRICS_PORT=.*a port, or 0 for none"):
        metrics_port({"FOLLOW_METRICS_PORT": given}, "FOLLOW_METRICS_PORT")
    assert metrics_port({}, "FOLLOW_METRICS_PORT") == 0


def test_a_wrong_setting_of_the_local_stack_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, before anything is done."""
    (tmp_path / "stack.env").touch()
    monkeypatch.setenv("MOST_TAGS_PER_USER", "x")
    assert cli.main(["job", "status", "--home", str(tmp_path)]) == 1
    allowed = "a whole number of at least 1"
    assert capsys.readouterr().err == f"reweigh: MOST_TAGS_PER_USER='x' can't be used; allowed: {allowed}\n"
