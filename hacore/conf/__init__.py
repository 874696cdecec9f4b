# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The options of hacore, one module per group.  Importing registers nothing.

`register` puts them on a ConfigOpts, `check` reads every one of them once, so that a
wrong value is reported at start and not at 3 a.m.
"""

import importlib.metadata
import os
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import log

from hacore.conf import (
    api,
    default,
    fencing,
    host_failure,
    host_return,
    instance_failure,
    mass_failure,
    metrics,
    nova,
    process_failure,
    recovery_flows,
)
from hacore.errors import ConfigError

#: Connections that a process keeps.  oslo.db's default of 5 is less than the threads that need
#: one, and each overflow connection is opened for a single transaction, at the cost of several.
MAX_POOL_SIZE = 20

#: Libraries whose options are in hacore.conf, by their name for oslo-config-generator; without
#: keystonemiddleware, which only the API reads.
LIBRARIES = (
    "oslo.db",
    "oslo.log",
    "oslo.messaging",
    "oslo.middleware.healthcheck",
    "oslo.middleware.http_proxy_to_wsgi",
    "oslo.middleware.sizelimit",
    "oslo.policy",
    "oslo.service.service",
)

_PLAIN = (
    default,
    api,
    fencing,
    host_failure,
    host_return,
    instance_failure,
    mass_failure,
    metrics,
    process_failure,
    recovery_flows,
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register the options of hacore, of the database and of the log on `conf`."""
    for module in _PLAIN:
        # oslo.config does not count DEFAULT as a group
        group = None if module.GROUP == "DEFAULT" else module.GROUP
        conf.register_opts(module.OPTIONS, group=group)
    nova.register(conf)
    db_options.set_defaults(conf, max_pool_size=MAX_POOL_SIZE)
    log.register_options(conf)
    set_log_defaults()


def set_log_defaults() -> None:
    """Keep the debug output of libraries out of the log of a daemon."""
    quiet = ("alembic", "novaclient", "urllib3")
    log.set_defaults(
        default_log_levels=[
            *log.get_default_log_levels(),
            *(f"{name}=WARN" for name in quiet),
        ]
    )


def set_library_defaults() -> None:
    """Set the defaults of library options for the generated sample (entry point)."""
    from oslo_middleware import healthcheck  # the engine does not need it

    set_log_defaults()
    cfg.set_defaults(db_options.database_opts, max_pool_size=MAX_POOL_SIZE)
    # as hacore.api.app sets them
    cfg.set_defaults(
        [*healthcheck.opts.HEALTHCHECK_OPTS, *healthcheck.opts.DISABLE_BY_FILE_OPTS],
        backends=["disable_by_file"],
        disable_by_file_path="/run/hacore/healthcheck_disable",
    )


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return group and options for oslo-config-generator (entry point)."""
    options = [(module.GROUP, list(module.OPTIONS)) for module in _PLAIN]
    return [*options, (nova.GROUP, nova.sample_options())]


class Installed(NamedTuple):
    """An option that an installed package declares to oslo-config-generator."""

    group: str
    option: cfg.Opt
    #: (group, name) of each deprecated spelling.
    old_names: list[tuple[str, str]]


def installed_options(namespaces: Collection[str]) -> Iterator[Installed]:
    """Yield the options of these namespaces of oslo-config-generator."""
    for point in importlib.metadata.entry_points(group="oslo.config.opts"):
        if point.name not in namespaces:
            continue
        for section, options in point.load()():
            group = str(section or "DEFAULT")
            for option in options:
                old_names = [
                    (old.group or group, (old.name or option.dest).replace("-", "_"))
                    for old in option.deprecated_opts
                ]
                yield Installed(group, option, old_names)


def check(conf: cfg.ConfigOpts) -> None:
    """Read every option once.

    Raises ConfigError with group, option, reason and file of the first wrong one.
    """
    _check_group(conf, None, conf)
    for name in sorted(conf._groups):  # noqa: SLF001 - oslo.config lists its groups nowhere else
        _check_group(conf, name, conf[name])


def files(conf: cfg.ConfigOpts) -> str:
    """Return the configuration files that were read, for a message."""
    names = [os.path.abspath(name) for name in conf.config_file or ()]
    return (
        ", ".join(names) or "a configuration file such as /etc/hacore/hacore.conf (none was found)"
    )


def _check_group(conf: cfg.ConfigOpts, group: str | None, values: Any) -> None:
    options = conf._groups[group]._opts if group else conf._opts  # noqa: SLF001
    for dest in sorted(options):
        try:
            values[dest]
        except (ValueError, cfg.Error) as exc:
            where = f"[{group or 'DEFAULT'}] {options[dest]['opt'].name}"
            raise ConfigError(f"Option {where} is wrong: {_reason(conf, str(exc))}.") from exc


# How oslo.config says that a value is wrong; `place` is a file or an environment variable.
_OF_OSLO = re.compile(
    r"Value for option .+? from LocationInfo\(.*?, detail='(?P<place>.*?)'\) "
    r"is not valid: (?P<why>.*)",
    re.DOTALL,
)
_OF_PYTHON = {
    "invalid literal for int() with base 10: ": "not a whole number",
    "could not convert string to float: ": "not a number",
}


def _reason(conf: cfg.ConfigOpts, text: str) -> str:
    found = _OF_OSLO.fullmatch(text)
    why, place = (found["why"], found["place"]) if found else (text, "")
    for beginning, meaning in _OF_PYTHON.items():
        if why.startswith(beginning):
            why = f"{why.removeprefix(beginning)} is {meaning}"
    return f"{why}; correct it in {place or files(conf)}"
