# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The sdist is whole, and the wheel alone is enough to run hacore."""

import configparser
import json
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Distribution, Installed

pytestmark = pytest.mark.timeout(1200)

#: Below share/hacore of the environment; where it is in the tree.
SHARED = {
    "hacore.conf.sample": "etc/hacore/hacore.conf.sample",
    "policy.yaml.sample": "etc/hacore/policy.yaml.sample",
    "systemd/hacore-api.service": "etc/systemd/hacore-api.service",
    "systemd/hacore-engine.service": "etc/systemd/hacore-engine.service",
    "systemd/hacore-standalone.service": "etc/systemd/hacore-standalone.service",
    "prometheus/hacore.rules.yml": "etc/prometheus/hacore.rules.yml",
    "grafana/hacore.json": "etc/grafana/hacore.json",
}


def test_the_sdist_is_whole(distribution: Distribution) -> None:
    """What is under version control is in it: whoever packages hacore can test and document it."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    with tarfile.open(distribution.sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    dotted = {name for name in tracked if name.startswith(".")}  # of this repository only
    assert tracked - dotted - packed == set()


def test_the_wheel_is_hacore_and_nothing_else(distribution: Distribution) -> None:
    with zipfile.ZipFile(distribution.wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"hacore"}
    packed = {name for name in names if name.startswith("hacore/")}
    tree = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "hacore").rglob("*")
        if path.is_file() and path.suffix in (".py", ".mako", ".typed")
    }
    assert packed == tree


def test_the_wheel_of_the_simulator_is_the_simulator(distribution: Distribution) -> None:
    with zipfile.ZipFile(distribution.sandbox) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"hacore_sandbox"}
    packed = {name for name in names if name.startswith("hacore_sandbox/")}
    root = ROOT / "sandbox"
    tree = {
        str(path.relative_to(root))
        for path in (root / "hacore_sandbox").rglob("*")
        if path.is_file() and path.suffix in (".py", ".typed")
    }
    assert packed == tree
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_hacore_needs_nothing_of_the_simulator(hacore_alone: Installed) -> None:
    """Each command runs without it, without rich and without a driver for PostgreSQL."""
    listed = json.loads(hacore_alone.run("pip", "list", "--format=json"))
    optional = {"hacore-sandbox", "rich", "psycopg2-binary"}
    assert optional & {package["name"] for package in listed} == set()
    assert not Path(hacore_alone.command("hacore-sandbox")).exists()
    for name in commands():
        assert f"usage: {name}" in hacore_alone.run(name, "--help")


def test_the_version_is_one(distribution: Distribution, installed: Installed) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert distribution.wheel.name.startswith(f"hacore-{version}-")
    assert distribution.sdist.name == f"hacore-{version}.tar.gz"
    assert installed.run("hacore-engine", "--version").strip() == version
    assert distribution.sandbox.name.startswith(f"hacore_sandbox-{version}-")


@pytest.mark.parametrize("name", SHARED)
def test_samples_and_units_come_with_the_wheel(installed: Installed, name: str) -> None:
    shared = installed.prefix / "share" / "hacore" / name
    assert shared.read_bytes() == (ROOT / SHARED[name]).read_bytes()


def commands() -> list[str]:
    """Those of hacore itself."""
    points = configparser.ConfigParser()
    points.read(ROOT / "setup.cfg")
    lines = points["options.entry_points"]["console_scripts"].split("\n")
    return [line.partition(" = ")[0] for line in lines if line]


@pytest.mark.parametrize("name", [*commands(), "hacore-sandbox", "fence_hacore_sandbox"])
def test_every_command_is_there(installed: Installed, name: str) -> None:
    assert f"usage: {name}" in installed.run(name, "--help")


def test_the_demo_runs_from_the_wheel(installed: Installed) -> None:
    """In an empty home, without a configuration; it exits with 0 if every instance is back."""
    before = set(installed.home.rglob("*"))  # pip has been here
    said = installed.run("hacore-sandbox", "demo", "--instances", "5")
    assert "5" in said
    assert set(installed.home.rglob("*")) == before
