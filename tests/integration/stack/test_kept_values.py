"""Kept values: secrets and ports that stay the same over runs."""

from __future__ import annotations

from pathlib import Path

from stack.servers.kept_values import KeptValues


def test_a_value_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    kept_values = KeptValues(tmp_path / "secrets")
    values = iter(["first", "second"])
    assert kept_values.read("key") is None
    assert kept_values.read_or_make("key", lambda: next(values)) == "first"
    assert kept_values.read_or_make("key", lambda: next(values)) == "first"
    assert kept_values.path("key").stat().st_mode & 0o777 == 0o600
    assert kept_values.folder.stat().st_mode & 0o777 == 0o700


def test_leftovers_of_a_killed_writer_do_no_harm(tmp_path: Path) -> None:
    kept_values = KeptValues(tmp_path)
    (tmp_path / ".key.partial").write_text("ha")
    kept_values.write("key", "whole")
    assert kept_values.read("key") == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_line_break_at_the_end_which_an_editor_or_echo_adds_is_no_part_of_a_value(
    tmp_path: Path,
) -> None:
    keep = KeptValues(tmp_path)
    keep.path("key").write_text("tp_replaced by hand\n")
    assert keep.read("key") == "tp_replaced by hand"
