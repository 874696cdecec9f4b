# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the documentation says of the tree is so."""

import ast
import configparser
import pathlib
import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import prometheus_client
import pytest
import yaml
from oslo_config import cfg

from hacore import metrics
from hacore.conf import recovery_flows

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOC = ROOT / "doc"
PAGES = sorted([ROOT / "README.md", ROOT / "sandbox" / "README.md", *DOC.glob("*.md")])
PICTURES = sorted((DOC / "pictures").glob("*.dot"))
_TEST = re.compile(r"`(tests/[\w/.-]+)(?:::(\w+))?`")


def named_tests() -> list[tuple[str, str]]:
    """The files and folders that the promises name, with the test in it or ""."""
    return sorted(set(_TEST.findall((DOC / "promises.md").read_text())))


@pytest.mark.parametrize(("path", "test"), named_tests())
def test_a_promise_names_tests_that_exist(path: str, test: str) -> None:
    assert (ROOT / path).exists()
    if test:
        tree = ast.parse((ROOT / path).read_text())
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if path.startswith("tests/scenarios/"):
        assert (ROOT / path / "log.expect").is_file()


def test_every_promise_has_a_test() -> None:
    text = (DOC / "promises.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    promises = [row for row in rows if row[0] != "promise"]
    assert len(promises) > 15
    assert [said for said, _, tests in promises if not _TEST.search(tests)] == []


def links(page: pathlib.Path) -> Iterator[str]:
    """The relative links and pictures of a page, without what is in a code block."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:|#", target):
            yield target.partition("#")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def cited_headings() -> list[tuple[str, str]]:
    """Page and heading of each comment like: doc/recovery.md, "Status of a notification"."""
    cited = re.compile(r'doc/([\w-]+\.md), "([^"]+)"')
    sources = [file for name in ("hacore", "benchmarks") for file in (ROOT / name).rglob("*.py")]
    sources += (ROOT / "tests" / "schedules").glob("*.py")
    return sorted({found for file in sources for found in cited.findall(file.read_text())})


@pytest.mark.parametrize(("page", "heading"), cited_headings())
def test_a_cited_heading_exists(page: str, heading: str) -> None:
    headings = re.findall(r"^#+ (.+)$", (DOC / page).read_text(), re.MULTILINE)
    assert heading.rstrip(".") in headings


@pytest.mark.parametrize("source", PICTURES, ids=lambda source: source.stem)
def test_a_picture_is_that_of_its_source(source: pathlib.Path) -> None:
    """Every name and every word of a label is in the drawing; else run make in doc/pictures."""
    drawing = ET.parse(source.with_suffix(".svg"))
    texts = {"".join(node.itertext()) for node in drawing.iter() if node.tag.endswith("}text")}
    drawn = " ".join(texts).replace("\xa0", " ")
    code = re.sub(r"^//.*$", "", source.read_text(), flags=re.MULTILINE)
    labels = re.findall(r'label="((?:[^"\\]|\\.)*)"', code)
    words = {word for label in labels for word in label.replace("\\n", " ").split()}
    assert {word for word in words if word.replace('\\"', '"') not in drawn} == set()
    titles = {node.text for node in drawing.iter() if node.tag.endswith("}title")}
    chains = re.findall(r"^\s*(\w+(?: -> \w+)+)", code, re.MULTILINE)
    edges = {
        f"{a}->{b}"
        for chain in chains
        for a, b in zip(chain.split(" -> "), chain.split(" -> ")[1:], strict=False)
    }
    assert {title for title in titles if title and "->" in title} == edges


def test_there_is_a_picture_of_each_flow_with_its_steps() -> None:
    shown = (DOC / "recovery.md").read_text()
    for kind, option in {
        "host-auto": "host_auto_failure_recovery_tasks",
        "host-rh": "host_rh_failure_recovery_tasks",
        "instance": "instance_failure_recovery_tasks",
        "process": "process_failure_recovery_tasks",
    }.items():
        assert f"(pictures/{kind}.svg)" in shown
        (declared,) = (made for made in recovery_flows.OPTIONS if made.name == option)
        picture = (DOC / "pictures" / f"{kind}.dot").read_text()
        steps = [step for phase in declared.default.values() for step in phase]
        assert [step for step in steps if step not in picture] == []


def test_every_metric_is_explained() -> None:
    made = {
        *metrics.FROM_DATABASE,
        *(
            value._name + ("_total" if isinstance(value, prometheus_client.Counter) else "")
            for value in vars(metrics).values()
            if isinstance(
                value,
                (prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram),
            )
        ),
    }
    told = set(re.findall(r"^\| `(hacore_\w+)`", (DOC / "monitoring.md").read_text(), re.MULTILINE))
    assert told == made


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((ROOT / "etc" / "prometheus" / "hacore.rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert set(re.findall(r"\bHacore\w+", (DOC / "monitoring.md").read_text())) == alerts


def test_every_command_has_a_manual_page() -> None:
    points = configparser.ConfigParser()
    points.read(ROOT / "setup.cfg")
    lines = points["options.entry_points"]["console_scripts"].split("\n")
    commands = {line.partition(" = ")[0] for line in lines if line}
    simulator = tomllib.loads((ROOT / "sandbox" / "pyproject.toml").read_text())
    commands |= set(simulator["project"]["scripts"])
    assert {page.stem for page in (DOC / "man").glob("*.rst")} == commands
    listed = re.findall(r'^    "([\w-]+)":', (DOC / "conf.py").read_text(), re.MULTILINE)
    assert set(listed) == commands


def test_ports_are_those_of_the_options(conf: cfg.ConfigOpts) -> None:
    text = (DOC / "monitoring.md").read_text()
    assert f"`api_port`, {conf.metrics.api_port}" in text
    assert f"`engine_port`, {conf.metrics.engine_port}" in text
    rules = (ROOT / "etc" / "prometheus" / "hacore.rules.yml").read_text()
    assert f"controller1:{conf.metrics.api_port}" in rules
    assert f"controller1:{conf.metrics.engine_port}" in rules
