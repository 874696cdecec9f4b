# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is checked before this version of hacore is started where another one ran."""

import pathlib
from collections.abc import Iterator

from oslo_config import cfg
from oslo_upgradecheck import common_checks
from oslo_upgradecheck.upgradecheck import Code, Result, UpgradeCommands

from hacore import conf as hacore_conf
from hacore.cmd import launch
from hacore.conf.nova import LOGIN_GROUPS
from hacore.engine.flows import Flows
from hacore.errors import ConfigError

#: Namespaces of the options in hacore.conf; etc/hacore/hacore-config-generator.conf has the same.
NAMESPACES = frozenset({"hacore", "keystonemiddleware.auth_token", *hacore_conf.LIBRARIES})


class Checks(UpgradeCommands):
    """The checks, in the order in which they are shown."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    def _values(self) -> Result:
        """Every option has a valid value."""
        try:
            hacore_conf.check(self._conf)
        except ConfigError as exc:
            return Result(Code.FAILURE, str(exc))
        return Result(Code.SUCCESS)

    def _names(self) -> Result:
        """No option in the files has been renamed or removed, or is misspelled."""
        stale = list(_stale(self._conf))
        return Result(Code.WARNING, " ".join(stale)) if stale else Result(Code.SUCCESS)

    def _database(self) -> Result:
        """The database answers and has the tables of this version."""
        try:
            launch.check_database(self._conf)
        except ConfigError as exc:
            return Result(Code.FAILURE, str(exc))
        return Result(Code.SUCCESS)

    def _policy(self) -> Result:
        """The policy file is not JSON, which oslo.policy deprecates."""
        return common_checks.check_policy_json(self, self._conf)

    def _flows(self) -> Result:
        """Every task of the recovery flows is installed and gets what it requires."""
        try:
            Flows(self._conf)
        except ConfigError as exc:
            return Result(Code.FAILURE, str(exc))
        return Result(Code.SUCCESS)

    _upgrade_checks = (
        ("Values of options", _values),
        ("Names of options", _names),
        ("Database", _database),
        ("Policy file", _policy),
        ("Recovery flows", _flows),
    )


def _stale(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield what to do about each option in the files that has no effect, or an old name."""
    known, renamed = _options()
    for file in _files(conf):
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(file, sections).parse()
        for group, names in sections.items():
            if group not in known or group in LOGIN_GROUPS:
                continue  # tasks of a third party may have options too
            for name in sorted({name.replace("-", "_") for name in names} - known[group]):
                new = renamed.get((group, name))
                yield (
                    f"[{group}] {name} is now called {new}; rename it in {file}."
                    if new
                    else f"[{group}] {name} is not an option and has no effect; remove it from "
                    f"{file}, or correct its name."
                )


def _files(conf: cfg.ConfigOpts) -> Iterator[str]:
    yield from conf.config_file or ()
    for folder in conf.config_dir or ():
        yield from sorted(str(path) for path in pathlib.Path(folder).glob("*.conf"))


def _options() -> tuple[dict[str, set[str]], dict[tuple[str, str], str]]:
    """Return the names of all options by group, and new names by group and old name."""
    known: dict[str, set[str]] = {}
    renamed: dict[tuple[str, str], str] = {}
    for group, option, old_names in hacore_conf.installed_options(NAMESPACES):
        known.setdefault(group, set()).add(option.dest)
        renamed |= dict.fromkeys(old_names, f"[{group}] {option.name}")
    return known, renamed
