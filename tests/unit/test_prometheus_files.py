# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The alert rules and the dashboard: Prometheus understands them, and hacore has what they name."""

import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import prometheus_client
import pytest
import yaml

from hacore import metrics
from tests.services import REQUIRED

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "etc" / "prometheus" / "hacore.rules.yml"
DASHBOARD = ROOT / "etc" / "grafana" / "hacore.json"
STORY = pathlib.Path(__file__).with_name("prometheus_rules_test.yml")
#: Series of a histogram besides its name.
_PARTS = ("_bucket", "_sum", "_count")


def promtool(*arguments: pathlib.Path | str, cwd: pathlib.Path = ROOT) -> str:
    """Run promtool; skip where there is none."""
    program = shutil.which("promtool")
    if program is None:
        why = "needs promtool (package prometheus)"
        if REQUIRED:
            pytest.fail(why)
        pytest.skip(why)
    done = subprocess.run(
        [program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions() -> Iterator[str]:
    """Everything that Prometheus is asked."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def known() -> dict[str, set[str]]:
    """The series of hacore, with their labels."""
    found: dict[str, set[str]] = {
        name: {label} if label else set() for name, (_, label) in metrics.FROM_DATABASE.items()
    }
    for made in vars(metrics).values():
        if isinstance(made, prometheus_client.Histogram):
            found |= {made._name + part: {*made._labelnames} for part in _PARTS}
            found[f"{made._name}_bucket"].add("le")
        elif isinstance(made, prometheus_client.Counter):
            found[f"{made._name}_total"] = {*made._labelnames}
        elif isinstance(made, prometheus_client.Gauge):
            found[made._name] = {*made._labelnames}
    return found


def test_every_metric_exists() -> None:
    series = known()
    named = {name for text in expressions() for name in re.findall(r"\bhacore_\w+", text)}
    assert named - series.keys() == set()
    # and the other way round: what nobody looks at need not be counted
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in named}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in series} - families == set()


@pytest.mark.parametrize("text", list(expressions()))
def test_every_label_exists(text: str) -> None:
    series = known()
    names = re.findall(r"\bhacore_\w+", text)
    given = {"job", "instance", *(label for name in names for label in series[name])}
    grouped = re.findall(r"\bby \(([^)]*)\)", text)
    matched = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", text)
    asked = {label for group in grouped for label in group.replace(" ", "").split(",")}
    assert (asked | set(matched)) - given == set()


def test_promtool_understands_the_rules() -> None:
    assert "22 rules found" in promtool("check", "rules", RULES)


def test_the_rules_tell_what_they_should(tmp_path: pathlib.Path) -> None:
    for file in (RULES, STORY):
        shutil.copy(file, tmp_path)
    assert "SUCCESS" in promtool("test", "rules", STORY.name, cwd=tmp_path)


def test_promtool_understands_the_dashboard(tmp_path: pathlib.Path) -> None:
    """Its expressions as recording rules, with Grafana's variables filled in."""
    rules = [
        {
            "record": f"panel:{number}",
            "expr": text.replace("$__rate_interval", "5m").replace("$__range", "6h"),
        }
        for number, text in enumerate(expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_the_dashboard_fits_on_the_screen() -> None:
    """No panels overlap, none is wider than Grafana's 24 columns; each has a name and a unit."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({panel["id"] for panel in panels}) == len(panels)
