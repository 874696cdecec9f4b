# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Sphinx makes the documentation and the manual pages without a warning."""

import html
import json
import pathlib
import re
import subprocess
import sys

import pytest
from oslo_config import cfg

from hacore import conf as hacore_conf
from hacore.api import policies
from tests.docs import browser
from tests.services import skip_unless_required

ROOT = pathlib.Path(__file__).resolve().parents[2]


def build(builder: str, folder: pathlib.Path) -> pathlib.Path:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder]
    command += ["-d", str(folder / "trees"), str(ROOT / "doc"), str(folder / "made")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return folder / "made"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    skip_unless_required("Sphinx (pip install -e '.[docs]' -e ./sandbox)")
    return build("html", tmp_path_factory.mktemp("html"))


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    skip_unless_required("Sphinx (pip install -e '.[docs]' -e ./sandbox)")
    return build("man", tmp_path_factory.mktemp("man"))


def text(page: pathlib.Path) -> str:
    """What a reader sees."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_option_is_there(pages: pathlib.Path) -> None:
    shown = text(pages / "options.html")
    for group, options in hacore_conf.list_opts():
        assert f"[{group}]" in shown
        names: list[cfg.Opt] = options
        assert [option.dest for option in names if option.dest not in shown] == []
    assert "transport_url" in shown  # the libraries' too


def test_every_rule_is_there(pages: pathlib.Path) -> None:
    shown = text(pages / "policies.html")
    assert [rule.name for rule in policies.list_rules() if rule.name not in shown] == []


@pytest.mark.parametrize(
    ("page", "source"),
    [("index.html", "openapi.json"), ("operator.html", "operator-openapi.json")],
)
def test_every_operation_is_there_with_its_examples(
    pages: pathlib.Path, page: str, source: str
) -> None:
    shown = text(pages / "api" / page)
    document = json.loads((ROOT / "doc" / source).read_text())
    examples = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert f"{method.upper()} {path}\N{PILCROW SIGN}" in shown
            bodies = [operation.get("requestBody", {})]
            bodies += [made for status, made in operation["responses"].items() if status < "400"]
            for body in bodies:
                example = body.get("content", {}).get("application/json", {}).get("example")
                if example is not None:
                    assert json.dumps(example, indent=2) in shown
                    examples += 1
    assert examples > 10


def test_pictures_are_shown(pages: pathlib.Path) -> None:
    for kind in ("host-auto", "host-rh", "instance", "process", "notification"):
        assert f"{kind}.svg" in (pages / "recovery.html").read_text()
        assert (pages / "_images" / f"{kind}.svg").is_file()


def test_manual_pages_name_the_verbs(manual: pathlib.Path) -> None:
    assert sorted(page.name for page in manual.glob("*.1")) == [
        "fence_hacore_sandbox.1",
        "hacore-api.1",
        "hacore-engine.1",
        "hacore-manage.1",
        "hacore-pacemaker-alert.1",
        "hacore-sandbox.1",
        "hacore-standalone.1",
        "hacore-status.1",
    ]
    manage = (manual / "hacore-manage.1").read_text().replace("\\", "")
    for verb in ("db sync", "db purge", "flow show", "doctor"):
        assert f"hacore-manage {verb}" in manage
    assert "--config-file" in (manual / "hacore-engine.1").read_text().replace("\\", "")


def test_a_page_says_first_for_whom_it_is(pages: pathlib.Path) -> None:
    """And what they can do after it; a manual page has a form of its own."""
    started = {
        str(page.relative_to(pages)): re.findall(r"<p>(.*?)</p>", page.read_text(), re.DOTALL)[0]
        for page in pages.rglob("*.html")
        if page.name not in ("genindex.html", "search.html", "index.html")
        and page.parent.name != "man"
    }
    assert len(started) > 15
    pattern = re.compile(r"For (everybody|operators|programmers|authors).+ (After this|This) page ")
    assert [
        page for page, text in started.items() if not pattern.match(text.replace("\n", " "))
    ] == []


def test_pages_ask_nothing_of_other_servers(pages: pathlib.Path) -> None:
    """No font, script, style or picture; a link is followed by whoever clicks on it."""
    there = r"[^>]*=\"(?:https?:)?//"
    loads = rf"<(?:script|img|iframe|source|link)\b{there}"
    asked = {
        *(page for page in pages.rglob("*.html") if re.search(loads, page.read_text())),
        *(
            style
            for style in pages.rglob("*.css")
            if re.search(r"@import|url\([\"']?(?:https?:)?//", style.read_text())
        ),
    }
    assert asked == set()


def test_no_page_is_wider_than_its_window(pages: pathlib.Path) -> None:
    """On a phone, a laptop and a wide screen; long lines and tables scroll in boxes of theirs."""
    skip_unless_required("chromium")
    names = sorted(str(page.relative_to(pages)) for page in pages.rglob("*.html"))
    found = browser.widths(pages, names, [360, 1280, 2560])
    assert len(found) == 3 * len(names)
    assert {key: got for key, got in found.items() if got > key[1]} == {}
