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
from hacore import policies
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


def test_every_operation_is_there_with_its_examples(pages: pathlib.Path) -> None:
    shown = text(pages / "api" / "index.html")
    document = json.loads((ROOT / "doc" / "openapi.json").read_text())
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
        "hacore-api.1",
        "hacore-engine.1",
        "hacore-manage.1",
        "hacore-sandbox.1",
        "hacore-standalone.1",
        "hacore-status.1",
    ]
    manage = (manual / "hacore-manage.1").read_text().replace("\\", "")
    for verb in ("db sync", "db purge", "flow show", "doctor"):
        assert f"hacore-manage {verb}" in manage
    assert "--config-file" in (manual / "hacore-engine.1").read_text().replace("\\", "")
