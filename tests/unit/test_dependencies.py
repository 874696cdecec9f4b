# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is imported is declared, and hooks and CI use the same tools."""

import ast
import importlib.metadata
import pathlib
import re
import sys
import tomllib
from collections.abc import Iterator

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def undeclared(project: pathlib.Path, package: str) -> list[str]:
    """Return the modules that `package` imports of distributions that `project` does not declare.

    An extra counts: what it brings is imported where it is used.
    """
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    requirements = [*declared.get("dependencies", [])]
    for name, extra in declared.get("optional-dependencies", {}).items():
        if name not in ("test", "docs", "lint", "benchmarks"):
            requirements += extra
    names = {_normal(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in requirements}
    providers = importlib.metadata.packages_distributions()
    return sorted(
        module
        for module in {*_imported(project / package)} - {package} - sys.stdlib_module_names
        if names.isdisjoint(_normal(provider) for provider in providers.get(module, []))
    )


def _imported(folder: pathlib.Path) -> Iterator[str]:
    """Yield the top-level module of each import, also of those inside functions."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_hooks_are_the_tools_of_ci() -> None:
    """A commit that the hooks let pass must pass in .ci/run too."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(
        requirement.split("==")
        for requirement in lint["optional-dependencies"]["lint"]
        if "==" in requirement
    )
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    revisions = {pathlib.PurePath(repo["repo"]).name: repo.get("rev") for repo in hooks["repos"]}
    assert revisions == {"ruff-pre-commit": f"v{pinned['ruff']}", "local": None}
    assert "mypy" in pinned


@pytest.mark.parametrize(("project", "package"), [(".", "hacore"), ("sandbox", "hacore_sandbox")])
def test_what_is_imported_is_declared(project: str, package: str) -> None:
    assert undeclared(ROOT / project, package) == []


def test_what_is_not_declared_is_found(tmp_path: pathlib.Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["oslo.config[x]>=1"]\n'
        '[project.optional-dependencies]\ndriver = ["PyMySQL"]\ntest = ["requests"]\n'
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(
        "import os.path\nimport mine.other\nfrom oslo_config import cfg\nimport requests\n"
        "def connect():\n    import pymysql, urllib3.util\n    from . import other\n"
    )
    assert undeclared(tmp_path, "mine") == ["requests", "urllib3"]
