# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who may import whom, and who may use which library; `hacore/__init__.py` draws the map.

Every import counts, also inside functions and under TYPE_CHECKING.  What is
wrong is told in one sentence: the module and line, the import, the rule.
"""

import ast
import dataclasses
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

_BOTTOM = {"clock", "errors", "states"}
_COUNTING = _BOTTOM | {"metrics"}
_DOORS = {"db", "events", "nova", "rpc"}  # to the world; none needs another
_SANDBOX = "hacore_sandbox"

#: The folder of each distribution of this repository, by its package.
DISTRIBUTIONS = {"hacore": ".", _SANDBOX: "sandbox"}

#: What each part of hacore may import of hacore, besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "clock": set(),
    "errors": set(),
    "states": set(),
    "hostnames": set(),
    "concurrency": set(),
    "processes": set(),
    "metrics": {"errors", "states"},
    "conf": _BOTTOM,
    "fencing": {"clock", "errors", "states"},
    "resources": {"states"},
    **{door: _COUNTING | {"conf"} for door in _DOORS},
    "heartbeat": {"clock", "db", "errors", "processes"},
    "monitoring": {"conf", "db", "errors", "metrics", "states"},
    "engine": _COUNTING | _DOORS | {"conf", "fencing", "heartbeat"},
    "tasks": _COUNTING | _DOORS | {"conf", "engine"},  # the engine finds them by entry points
    "api": _COUNTING | _DOORS | {"conf", "heartbeat", "resources"},
    "masakari": _BOTTOM | {"conf", "db"},
}
MAY_IMPORT["db"] |= {"hostnames", "processes"}
MAY_IMPORT["api"] |= {"hostnames"}
MAY_IMPORT["events"] |= {"resources"}
MAY_IMPORT["cmd"] = set(MAY_IMPORT)
MAY_IMPORT["pacemaker_alert"] = set()  # it is copied to hosts without hacore
# All of it, its command too: the demo runs hacore-standalone as a process of its own.
MAY_IMPORT[_SANDBOX] = {"clock"}


@dataclasses.dataclass(frozen=True)
class Reserved:
    """Libraries that few may use.

    ``owners``: parts of hacore; ``exceptions``: module to the one name in them it may import.
    """

    libraries: frozenset[str]
    owners: frozenset[str]
    rule: str
    exceptions: tuple[tuple[str, str], ...] = ()


RESERVED = (
    Reserved(
        frozenset({"novaclient", "keystoneauth1"}),
        frozenset({"nova"}),
        "only hacore.nova talks to Nova (hacore.conf.nova may import keystoneauth1.loading)",
        (("hacore.conf.nova", "keystoneauth1.loading"),),
    ),
    Reserved(
        frozenset({"eventlet"}),
        frozenset({"concurrency"}),
        "only hacore.concurrency names eventlet; all other code uses threading",
    ),
    Reserved(
        frozenset({"sqlalchemy", "alembic", "oslo_db"}),
        # hacore.masakari: the source of an import is Masakari's database, with its own tables
        frozenset({"db", "masakari"}),
        "only hacore.db speaks to the database, and hacore.masakari to Masakari's "
        "(hacore.conf may import oslo_db.options)",
        (("hacore.conf", "oslo_db.options"),),
    ),
    Reserved(
        frozenset({"taskflow"}),
        frozenset({"engine", "tasks"}),
        "only hacore.engine and hacore.tasks know taskflow",
    ),
    Reserved(
        frozenset({"prometheus_client"}),
        frozenset({"metrics"}),
        "only hacore.metrics knows Prometheus",
    ),
)

_CONF = "oslo_config.cfg.CONF"


def problems(root: pathlib.Path) -> list[str]:
    """Return a sentence for every import of a distribution below `root` that breaks a rule."""
    found = []
    for name, folder in DISTRIBUTIONS.items():
        for path in sorted((root / folder / name).rglob("*.py")):
            found += _problems_of(path, path.relative_to(root / folder))
    return found


def _problems_of(path: pathlib.Path, relative: pathlib.Path) -> list[str]:
    parts = relative.with_suffix("").parts
    package = path.name == "__init__.py"
    module = ".".join(parts[:-1] if package else parts)
    tree = ast.parse(path.read_text(), str(path))
    return [
        f"{module} (line {line}) imports {name}: {rule}."
        for line, name in sorted(_imports(tree, module, package))
        if (rule := _broken(module, name))
    ]


def _broken(module: str, name: str) -> str | None:
    """Return the rule that the import of `name` in `module` breaks, or None."""
    part = _part(module)
    if part not in MAY_IMPORT and part:
        return f"hacore.{part} is new; say in tests/unit/test_layers.py what it may import"
    if name == _CONF or name.startswith(f"{_CONF}."):
        return None if part == "cmd" else "only hacore.cmd touches the global configuration"
    library, _, rest = name.partition(".")
    if library == _SANDBOX:
        return None if part == _SANDBOX else "hacore runs without the simulator"
    if library == "hacore":
        target = rest.partition(".")[0]
        if target in {"", part} or target in MAY_IMPORT.get(part, set()):
            return None
        allowed = ", ".join(sorted(MAY_IMPORT.get(part, set()))) or "nothing"
        return f"{part or 'hacore itself'} may import of hacore only itself and {allowed}"
    for reserved in RESERVED:
        if library in reserved.libraries and part not in reserved.owners:
            if (module, ".".join(name.split(".")[:2])) in reserved.exceptions:
                return None
            return reserved.rule
    return None


def _part(module: str) -> str:
    """Return the part of hacore that a module belongs to; "" for the package itself.

    The simulator is one part, of another distribution.
    """
    if module.partition(".")[0] == _SANDBOX:
        return _SANDBOX
    return module.partition(".")[2].partition(".")[0]


def _imports(tree: ast.Module, module: str, package: bool) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything that a module imports."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name] = alias.name
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module, package)
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{origin}.{alias.name}"
                yield node.lineno, f"{origin}.{alias.name}"
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"importlib.import_module", "import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)
    # cfg.CONF is no import, but as global as one
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "CONF":
            yield node.lineno, f"{aliases.get(ast.unparse(node.value), '')}.CONF"


def _origin(node: ast.ImportFrom, module: str, package: bool) -> str:
    """Return the package of a ``from`` import, a relative one resolved."""
    if not node.level:
        return node.module or ""
    parents = module.split(".")
    parents = parents[: len(parents) - node.level + (1 if package else 0)]
    return ".".join([*parents, *filter(None, [node.module])])


def test_layers() -> None:
    assert problems(ROOT) == []


ENGINE_MAY = "clock, conf, db, errors, events, fencing, heartbeat, metrics, nova, rpc, states"


@pytest.mark.parametrize(
    ("module", "source", "sentence"),
    [
        (
            "engine.flows",
            "import os\nfrom hacore.api import app\n",
            "hacore.engine.flows (line 2) imports hacore.api.app: engine may import of hacore "
            f"only itself and {ENGINE_MAY}.",
        ),
        (
            "engine.steps",
            "from hacore.tasks.base import Task\n",
            "hacore.engine.steps (line 1) imports hacore.tasks.base.Task: engine may import of "
            f"hacore only itself and {ENGINE_MAY}.",
        ),
        (
            "api.app",
            "def f():\n    import hacore.engine.queue\n",
            "hacore.api.app (line 2) imports hacore.engine.queue: api may import of hacore only "
            "itself and clock, conf, db, errors, events, heartbeat, hostnames, metrics, nova, "
            "resources, rpc, states.",
        ),
        (
            "db.segments",
            "from ..nova import Nova\n",
            "hacore.db.segments (line 1) imports hacore.nova.Nova: db may import of hacore only "
            "itself and clock, conf, errors, hostnames, metrics, processes, states.",
        ),
        (
            "hacore_sandbox.cloud",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hacore import errors\n",
            "hacore_sandbox.cloud (line 3) imports hacore.errors: hacore_sandbox may import of "
            "hacore only itself and clock.",
        ),
        (
            "hacore_sandbox.cli",
            "def f():\n    from hacore.cmd import standalone\n",
            "hacore_sandbox.cli (line 2) imports hacore.cmd.standalone: hacore_sandbox may import "
            "of hacore only itself and clock.",
        ),
        (
            "cmd.standalone",
            "def f():\n    import hacore_sandbox.cloud\n",
            "hacore.cmd.standalone (line 2) imports hacore_sandbox.cloud: hacore runs without the "
            "simulator.",
        ),
        (
            "clock",
            "from hacore import states\n",
            "hacore.clock (line 1) imports hacore.states: clock may import of hacore only itself "
            "and nothing.",
        ),
        (
            "api.hosts",
            "import sqlalchemy.orm as orm\n",
            "hacore.api.hosts (line 1) imports sqlalchemy.orm: only hacore.db speaks to the "
            "database, and hacore.masakari to Masakari's (hacore.conf may import oslo_db.options).",
        ),
        (
            "conf",
            "from oslo_db import exception\n",
            "hacore.conf (line 1) imports oslo_db.exception: only hacore.db speaks to the "
            "database, and hacore.masakari to Masakari's (hacore.conf may import oslo_db.options).",
        ),
        (
            "tasks.host",
            "from novaclient import client\n",
            "hacore.tasks.host (line 1) imports novaclient.client: only hacore.nova talks to Nova "
            "(hacore.conf.nova may import keystoneauth1.loading).",
        ),
        (
            "conf.nova",
            "from keystoneauth1 import session\n",
            "hacore.conf.nova (line 1) imports keystoneauth1.session: only hacore.nova talks to "
            "Nova (hacore.conf.nova may import keystoneauth1.loading).",
        ),
        (
            "rpc",
            "import importlib\nimportlib.import_module('eventlet.green.os')\n",
            "hacore.rpc (line 2) imports eventlet.green.os: only hacore.concurrency names "
            "eventlet; all other code uses threading.",
        ),
        (
            "engine.queue",
            "from prometheus_client import Counter\n",
            "hacore.engine.queue (line 1) imports prometheus_client.Counter: only hacore.metrics "
            "knows Prometheus.",
        ),
        (
            "cmd.manage",
            "from taskflow import engines\n",
            "hacore.cmd.manage (line 1) imports taskflow.engines: only hacore.engine and "
            "hacore.tasks know taskflow.",
        ),
        (
            "db.engine",
            "from oslo_config import cfg as options\nurl = options.CONF.database.connection\n",
            "hacore.db.engine (line 2) imports oslo_config.cfg.CONF: only hacore.cmd touches the "
            "global configuration.",
        ),
        (
            "conf.api",
            "from oslo_config.cfg import CONF\n",
            "hacore.conf.api (line 1) imports oslo_config.cfg.CONF: only hacore.cmd touches the "
            "global configuration.",
        ),
        (
            "masakari.rows",
            "from hacore.engine import flows\n",
            "hacore.masakari.rows (line 1) imports hacore.engine.flows: masakari may import of "
            "hacore only itself and clock, conf, db, errors, states.",
        ),
        (
            "helpers",
            "import os\n",
            "hacore.helpers (line 1) imports os: hacore.helpers is new; say in "
            "tests/unit/test_layers.py what it may import.",
        ),
    ],
)
def test_a_wrong_import_is_named(
    tmp_path: pathlib.Path, module: str, source: str, sentence: str
) -> None:
    write(tmp_path, module, source)
    assert problems(tmp_path) == [sentence]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("conf.nova", "from keystoneauth1 import loading\n"),
        ("conf.nova", "from keystoneauth1.loading import adapter\n"),
        ("conf", "from oslo_db import options as db_options\n"),
        ("db.engine", "import sqlalchemy as sa\nfrom oslo_db.sqlalchemy import enginefacade\n"),
        ("engine.flows", "from hacore.nova import Nova\nfrom taskflow import task\n"),
        ("tasks.host", "from hacore.engine.context import RecoveryContext\n"),
        ("cmd.launch", "from oslo_config import cfg\nconf = cfg.CONF\n"),
        ("hacore_sandbox.cli", "from hacore_sandbox.cloud import Cloud\n"),
        (
            "hacore_sandbox.cloud",
            "from hacore_sandbox import model\nfrom hacore.clock import Clock\n",
        ),
        ("masakari.source", "import sqlalchemy as sa\nfrom hacore.db.engine import Database\n"),
        ("concurrency", "import eventlet\n"),
    ],
)
def test_a_right_import_is_let_through(tmp_path: pathlib.Path, module: str, source: str) -> None:
    write(tmp_path, module, source)
    assert problems(tmp_path) == []


def write(root: pathlib.Path, module: str, source: str) -> None:
    """Write the source of a module of a hacore, or of its simulator, below `root`."""
    parts = module.split(".")
    if parts[0] == _SANDBOX:
        path = root.joinpath(DISTRIBUTIONS[_SANDBOX], *parts)
    else:
        path = root.joinpath("hacore", *parts)
    is_package = module in {"conf", "db", "api", "engine", "tasks", "cmd"}
    path = path / "__init__.py" if is_package else path.with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
