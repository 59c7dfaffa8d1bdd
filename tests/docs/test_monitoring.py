"""The alerts and the dashboard use metrics that exist, and each alert has a page and tests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.exposed import Exposed, names_in, scraped
from tests.processes import ROOT

MONITORING = ROOT / "docs" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text())
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
TESTS: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PROMTOOL = shutil.which("promtool")
HEADINGS = ["What it means", "How to see it", "What to do"]


@pytest.fixture
async def exposed(tmp_path: Path) -> Exposed:
    return await scraped(tmp_path)


def names(rule: dict[str, Any]) -> str:
    return str(rule["alert"])


async def test_every_alert_uses_metrics_that_exist(exposed: Exposed) -> None:
    """And labels and values of labels; otherwise it could never fire."""
    missing = {rule["alert"]: exposed.missing_from(rule["expr"]) for rule in ALERTS}
    assert {name: found for name, found in missing.items() if found} == {}


async def test_the_panels_use_metrics_that_exist_and_every_metric_has_a_panel(exposed: Exposed) -> None:
    """Nobody looks at a metric without a panel."""
    queries = [target["expr"].replace("$job", "checkout") for panel in PANELS for target in panel["targets"]]
    assert [found for query in queries for found in exposed.missing_from(query)] == []
    shown = {name for query in queries for name in names_in(query)}
    hidden = [one for one in exposed.families if not any(name.startswith(one) for name in shown)]
    assert hidden == []


async def test_a_query_for_a_missing_metric_is_noticed(exposed: Exposed) -> None:
    """The two tests above can fail."""
    assert exposed.missing_from("rate(checkout_nothing_total[5m])") == ["no metric checkout_nothing_total"]
    assert exposed.missing_from('checkout_sagas{state="x"}') == ["checkout_sagas has no label state"]
    assert exposed.missing_from('checkout_sagas{status="stuck"}') == ["checkout_sagas never has status=stuck"]
    assert exposed.missing_from("sum by (shop) (checkout_in_flight)") == ["no label shop"]


@pytest.mark.parametrize("rule", ALERTS, ids=names)
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    """Its page has the three headings, in this order, and names the alert."""
    assert re.fullmatch(r"Checkout[A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"[0-9]+m", rule["for"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["expr"].count("(") == rule["expr"].count(")")
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    page = (ROOT / annotations["runbook_url"]).read_text()
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    assert f"`{rule['alert']}`" in page


def test_no_two_alerts_have_the_same_name_or_page() -> None:
    """The operator on call finds the one page."""
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    assert len({rule["annotations"]["runbook_url"] for rule in ALERTS}) == len(ALERTS)


def expectations() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for test in TESTS:
        for expected in test["alert_rule_test"]:
            yield expected["alertname"], expected["exp_alerts"]


@pytest.mark.parametrize("rule", ALERTS, ids=names)
def test_each_alert_has_a_test_that_it_fires_and_one_that_it_does_not(rule: dict[str, Any]) -> None:
    """With the rule's severity and page."""
    expected = [alerts for name, alerts in expectations() if name == rule["alert"]]
    assert [] in expected
    assert any(expected)
    for alert in (one for alerts in expected for one in alerts):
        assert alert["exp_labels"]["severity"] == rule["labels"]["severity"]
        assert alert["exp_annotations"]["runbook_url"] == rule["annotations"]["runbook_url"]


async def test_the_tests_of_the_alerts_use_series_that_exist(exposed: Exposed) -> None:
    """A test on a missing metric proves nothing."""
    series = [one["series"] for test in TESTS for one in test["input_series"]]
    free = re.compile(r',?\b(le|endpoint|step|route|method)="[^"]*"')
    assert {found for one in series for found in exposed.missing_from(free.sub("", one))} == set()


def test_the_tests_of_the_alerts_pass() -> None:
    """With promtool, as `make monitoring` runs it; without it, only the names are compared."""
    if PROMTOOL is None:
        assert {name for name, _ in expectations()} == {rule["alert"] for rule in ALERTS}
        return
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            [PROMTOOL, *command], cwd=MONITORING, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_uses_the_chosen_data_source() -> None:
    """Whatever its name is."""
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query"}
    for panel in PANELS:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            assert 'job="$job"' in target["expr"]


def test_the_panels_do_not_overlap_and_have_titles() -> None:
    """And every page that a panel names exists."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    for panel in PANELS:
        assert panel["title"]
        for page in re.findall(r"docs/\S+\.md", panel["description"]):
            assert (ROOT / page).exists(), page
