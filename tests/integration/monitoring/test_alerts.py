"""Alert rules: promtool accepts them, each has a test, and each says what to do."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from testing.programs import PROMTOOL
from testing.servers.shared import ROOT

MONITORING = ROOT / "monitoring"
FAILURES = (ROOT / "docs" / "FAILURES.md").read_text()
ANCHORS = {
    re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
    for line in FAILURES.splitlines()
    if line.startswith("#")
}


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    command = [str(PROMTOOL.path()), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_reads_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", str(MONITORING / "alerts.yml"))
    promtool("check", "config", str(MONITORING / "prometheus.yml"))


def test_every_alert_fires_when_it_must_and_not_when_it_must_not() -> None:
    promtool("test", "rules", str(MONITORING / "alerts_test.yml"))


def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    document = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())
    fires: set[str] = set()
    quiet: set[str] = set()
    for block in document["tests"]:
        for case in block["promql_expr_test"]:
            assert f'alertname="{block["name"]}"' in case["expr"]
            (fires if case["exp_samples"] else quiet).add(block["name"])
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert fires == quiet == set(names)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_has_a_severity_and_an_instruction(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert rule["annotations"]["summary"].endswith(".")
    done, _, anchor = rule["annotations"]["runbook"].rpartition(" docs/FAILURES.md#")
    assert done
    assert anchor in ANCHORS


def test_every_alert_has_a_section_with_commands_in_the_manual() -> None:
    manual = (ROOT / "docs" / "OPERATE.md").read_text().partition("\n## Alerts\n")[2]
    sections = re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", manual, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in sections] == [rule["alert"] for rule in rules()]
    assert [name for name, text in sections if "```sh\n" not in text] == []
