"""Secrets from files: NAME_FILE instead of NAME, and one line when the file is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from settings import Settings, SettingsError, read_secrets
from stack.errors import StackError
from stack.plan import Folders, make_plan, read_settings
from testing.identity import IDENTITY

URLS = {
    "DATABASE_URL": "postgresql://ledger:hush@localhost/truepenny",
    "BROKER_URL": "redis://:hush@localhost:6379/0",
    "CACHE_URL": "redis://:hush@localhost:6380/0",
}
OTHERS = {
    **IDENTITY,
    "ADMIN_API_KEY": "tp_hush",
    "FLOWER_BASIC_AUTH": "flower:hush",
    "SENTRY_DSN": "https://hush@localhost/1",
}


def files(folder: Path, secrets: dict[str, str]) -> dict[str, str]:
    """Write each secret to its own file. Returns: the environment that names the files."""
    for name, value in secrets.items():
        (folder / name).write_text(f"{value}\n")
    return {f"{name}_FILE": str(folder / name) for name in secrets}


def refusal(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environment)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return str(caught.value)


def test_every_secret_may_be_a_file(tmp_path: Path) -> None:
    settings = Settings.from_environment(files(tmp_path, URLS | OTHERS))
    assert settings.database_url == URLS["DATABASE_URL"]
    assert settings.broker_url == URLS["BROKER_URL"]
    assert settings.cache_url == URLS["CACHE_URL"]
    assert settings.admin_api_key == OTHERS["ADMIN_API_KEY"]
    assert settings.flower_basic_auth == OTHERS["FLOWER_BASIC_AUTH"]


def test_the_content_replaces_the_name_of_the_file(tmp_path: Path) -> None:
    given = {"PORT": "1", "HOST_FILE": "is no secret"}
    assert read_secrets(files(tmp_path, URLS | OTHERS) | given) == URLS | OTHERS | given


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_end_of_the_line_is_no_part_of_a_secret(tmp_path: Path, ending: str) -> None:
    (tmp_path / "key").write_bytes(b"tp_hush" + ending.encode())
    read = read_secrets({"ADMIN_API_KEY_FILE": str(tmp_path / "key")})
    assert read == {"ADMIN_API_KEY": "tp_hush"}


@pytest.mark.parametrize("name", URLS | OTHERS)
def test_a_secret_that_is_given_twice_is_refused(tmp_path: Path, name: str) -> None:
    both = URLS | {name: (URLS | OTHERS)[name]} | files(tmp_path, {name: "another"})
    assert refusal(both) == f"{name} and {name}_FILE are both set: set only one of them"


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_one_counts_as_not_given(tmp_path: Path, blank: str) -> None:
    given = files(tmp_path, URLS) | {**IDENTITY, "DATABASE_URL": blank, "ADMIN_API_KEY_FILE": blank}
    assert Settings.from_environment(given).admin_api_key is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\n", "is empty"),
        (b"hush\nhush", "must be one line of text"),
        (b"hush\n\n", "must be one line of text"),
        (b"hush\0", "must be one line of text"),
        (b"hush\xff", "must be one line of text"),
        (b"hush\x1b[2J", "must be one line of text"),
        (b"h" * 8193, "is larger than 8192 bytes"),
    ],
)
def test_a_file_that_cannot_be_a_secret_is_named_and_not_quoted(
    tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "database"
    file.write_bytes(content)
    said = refusal(URLS | {"DATABASE_URL": "", "DATABASE_URL_FILE": str(file)})
    assert said == f"DATABASE_URL_FILE: {file} {why}"


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for file, why in (
        (tmp_path / "nowhere", "cannot be read: No such file or directory"),
        (tmp_path, "is not a file"),
        (pipe, "is not a file"),
    ):
        said = refusal(URLS | {"CACHE_URL": "", "CACHE_URL_FILE": str(file)})
        assert said == f"CACHE_URL_FILE: {file} {why}"


def test_make_up_uses_the_servers_whose_addresses_are_in_files(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "data")
    folders.make(for_all=False)
    owner = {"MIGRATIONS_DATABASE_URL": "postgresql://owner:hush@localhost/truepenny"}
    plan = make_plan(files(tmp_path, URLS | owner | OTHERS), folders, say=print)
    assert not plan.servers
    # The application must not be able to become the owner.
    assert plan.migrations_environment == {**plan.environment, **owner}
    assert not any("MIGRATIONS" in name for name in plan.environment)
    assert [server.name for server in plan.given] == list(URLS)
    assert not plan.generated
    assert plan.settings.admin_api_key == OTHERS["ADMIN_API_KEY"]


def test_make_up_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"BROKER_URL_FILE: .* cannot be read"):
        read_settings({"BROKER_URL_FILE": str(tmp_path / "nowhere")})
