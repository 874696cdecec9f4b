# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What has to be right before this version of hacore is started where another one ran."""

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

#: Whose options our configuration files hold; etc/hacore/hacore-config-generator.conf has the same.
NAMESPACES = frozenset({"hacore", "keystonemiddleware.auth_token", *hacore_conf.LIBRARIES})


class Checks(UpgradeCommands):
    """The checks, in the order in which they are shown."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    def _values(self) -> Result:
        """Every option has a value that it may have."""
        try:
            hacore_conf.check(self._conf)
        except ConfigError as exc:
            return Result(Code.FAILURE, str(exc))
        return Result(Code.SUCCESS)

    def _names(self) -> Result:
        """No option in the files has changed its name, is gone, or is misspelled."""
        told = list(_stale(self._conf))
        return Result(Code.WARNING, " ".join(told)) if told else Result(Code.SUCCESS)

    def _database(self) -> Result:
        """The database can be reached and has the tables of this version."""
        try:
            launch.check_database(self._conf)
        except ConfigError as exc:
            return Result(Code.FAILURE, str(exc))
        return Result(Code.SUCCESS)

    def _policy(self) -> Result:
        """The policy file is no JSON, which oslo.policy gives up."""
        return common_checks.check_policy_json(self, self._conf)

    def _flows(self) -> Result:
        """Every step of the recovery flows is installed and fits."""
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
    """Say of each option in the files that has no effect, or an old name, what to do."""
    known, renamed = _options()
    for file in _files(conf):
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(file, sections).parse()
        for group, names in sections.items():
            if group not in known or group in LOGIN_GROUPS:
                continue  # a third party's steps may have options too
            for name in sorted({name.replace("-", "_") for name in names} - known[group]):
                new = renamed.get((group, name))
                yield (
                    f"[{group}] {name} is called {new} now; rename it in {file}."
                    if new
                    else f"[{group}] {name} is no option and has no effect; remove it from "
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
