# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Converts a configuration of Masakari 22.0.0.

Most options keep group and name.  The others are in the tables of
hacore.masakari.options, and every option that is set goes into the new
file or is listed with the reason why not.
"""

import dataclasses
import importlib.metadata
import re
from collections.abc import Iterator, Sequence

from oslo_config import cfg

from hacore.conf import LIBRARIES, installed_options, recovery_flows
from hacore.conf.nova import LOGIN_GROUPS
from hacore.errors import ConfigError
from hacore.masakari import options as masakari

#: Values as they are written, by option, by group; an option may be set more than once.
Sections = dict[str, dict[str, list[str]]]

#: Entry-point group of the tasks of Masakari and of third parties for it.
TASK_NAMESPACE = "masakari.task_flow.tasks"
#: A task that hacore has and Masakari does not: who lists it there has one of their own.
FENCES = "fence_compute_host_task"
#: A reference to another option in a value, as oslo.config writes it; $$ is a dollar.
_REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][\w.]*)\}|\$([A-Za-z_][\w.]*)")


@dataclasses.dataclass
class Converted:
    """A configuration of hacore.

    :ivar sections: its options.
    :ivar remarks: comments by group, put at its top.
    :ivar left_out: what is not converted: (option, reason or what to do instead).
    """

    sections: Sections = dataclasses.field(default_factory=dict)
    remarks: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def text(self) -> str:
        """Return it as a file."""
        groups = dict.fromkeys([*self.sections, *self.remarks])
        return "\n".join("\n".join(self._lines(group)) + "\n" for group in groups)

    def _lines(self, group: str) -> Iterator[str]:
        yield f"[{group}]"
        yield from (f"# {line}" if line[0] != "#" else line for line in self.remarks.get(group, ()))
        for name, values in self.sections.get(group, {}).items():
            for value in values:
                # the next line of a value begins with a blank
                yield f"{name} = {value}".replace("\n", "\n    ").rstrip()


def read(files: Sequence[str]) -> Sections:
    """Return what is set in configuration files; of two of the same name the last one counts.

    Raises ConfigError, or oslo.config's error for a file that cannot be parsed.
    """
    found: Sections = {}
    for file in files:
        sections: Sections = {}
        try:
            cfg.ConfigParser(file, sections).parse()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"Failed to read {file}: {exc}.") from exc
        for group, options in sections.items():
            found.setdefault(group, {}).update(options)
    return found


def convert(source: Sections, ours: Sequence[tuple[str, Sequence[cfg.Opt]]]) -> Converted:
    """Return the configuration of hacore that does what `source` did.

    :param ours: hacore's own options by group, as hacore.conf.list_opts returns them.
    """
    return _Conversion(source, ours).run()


class _Conversion:
    def __init__(self, source: Sections, ours: Sequence[tuple[str, Sequence[cfg.Opt]]]) -> None:
        self._source = source
        self._known = {
            (group, option.dest): option for group, options in ours for option in options
        }
        self._known |= _library_options()
        self._groups = {group for group, _ in self._known}
        self._result = Converted()

    def run(self) -> Converted:
        for group, names in self._source.items():
            for name, values in names.items():
                self._convert(group, name.replace("-", "_"), values)
        self._add_defaults()
        self._check_login()
        self._add_database()
        self._add_namespaces()
        return self._result

    def _convert(self, group: str, name: str, values: list[str]) -> None:
        reason = masakari.LEFT_OUT.get((group, name)) or masakari.LEFT_OUT_GROUPS.get(group)
        if reason:
            self._leave_out(group, name, reason)
        elif (group, name) == masakari.CATALOG:
            self._convert_catalog(values[-1])
        else:
            self._convert_to(group, name, *masakari.MOVED.get((group, name), (group, name)), values)

    def _convert_to(self, group: str, name: str, to: str, new: str, values: list[str]) -> None:
        """Set the option `new` of the group `to`, if the value is valid in hacore."""
        option = self._known.get((to, new))
        if option is None and to not in LOGIN_GROUPS:
            if to in self._groups:
                self._leave_out(group, name, "hacore does not have this option")
                return
            self._result.remarks[to] = [
                "not an option of hacore; kept for a third-party task that reads it"
            ]
        try:
            resolved = [self._resolve(value) for value in values]
            if option is not None:
                for value in resolved:
                    option.type(value)
        except ValueError as exc:
            self._leave_out(group, name, f"its value is not valid in hacore: {exc}")
            return
        self._set(to, new, resolved)

    def _resolve(self, value: str, depth: int = 0) -> str:
        """Replace references: hacore may lack the option, or have it with another value."""

        def replace(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            if name is None:
                return found[0]
            group, _, option = name.rpartition(".")
            values = self._source.get(group or "DEFAULT", {}).get(option)
            if values is None or depth > 9:  # in a circle
                raise ValueError(f"it refers to ${name}, which is not set; write the value itself")
            return self._resolve(values[-1], depth + 1)

        return _REFERENCE.sub(replace, value)

    def _convert_catalog(self, value: str) -> None:
        parts = value.split(":")
        if len(parts) != 3:
            self._leave_out(*masakari.CATALOG, "it is not of the form compute:nova:publicURL")
            return
        service_type, service_name, endpoint = parts
        self._set("nova", "service_type", [service_type])
        if service_name:
            self._set("nova", "service_name", [service_name])
        self._set("nova", "valid_interfaces", [endpoint.removesuffix("URL")])

    def _add_defaults(self) -> None:
        """Set the options whose defaults differ from Masakari's."""
        sections = self._result.sections
        for group, options in masakari.DEFAULTS.items():
            if group == "nova" and "auth_url" not in sections.get("nova", {}):
                continue
            for name, value in options.items():
                sections.setdefault(group, {}).setdefault(name, [value])
        # Masakari logs in to Nova with the auth_type of [keystone_authtoken]
        kind = self._source.get("keystone_authtoken", {}).get("auth_type")
        if kind and "nova" in sections:
            self._set("nova", "auth_type", kind)
        if "driver" in sections.get("oslo_messaging_notifications", {}):
            sections.setdefault("DEFAULT", {}).setdefault("control_exchange", [masakari.EXCHANGE])

    def _check_login(self) -> None:
        """Say where there is no login for Nova, as in the file of OpenStack-Ansible."""
        nova = self._result.sections.get("nova", {})
        if not nova.keys() & {"auth_url", "auth_section"}:
            self._result.remarks.setdefault("nova", []).append(
                "the file of Masakari has no login for Nova (os_privileged_user_auth_url); set "
                "auth_url, username, password and project_name of a user with the role admin"
            )

    def _add_database(self) -> None:
        """Add a remark on the database: Masakari's tables have names that hacore's have too."""
        address = (self._source.get("database", {}).get("connection") or [""])[-1]
        found = re.match(r"[\w+]+://(?:[^@/]*@)?([^/?]+)/", address)
        server = found[1] if found else "dbhost"
        driver = "postgresql+psycopg2" if address.startswith("postgres") else "mysql+pymysql"
        self._result.remarks["database"] = [
            "hacore's own database, not Masakari's; set its password here:",
            f"#connection = {driver}://hacore:SECRET@{server}/hacore",
        ]

    def _add_namespaces(self) -> None:
        """Add the entry-point group of third-party tasks, where a list has one."""
        flows = self._result.sections.get(recovery_flows.GROUP, {})
        ours = {
            point.name for point in importlib.metadata.entry_points(group=recovery_flows.NAMESPACE)
        }
        listed = {
            task
            for option in recovery_flows.OPTIONS
            for tasks in option.type((flows.get(option.dest) or [""])[-1]).values()
            for task in tasks
        }
        if others := sorted(listed - ours):
            self._set(
                "DEFAULT", "task_namespaces", [f"{recovery_flows.NAMESPACE},{TASK_NAMESPACE}"]
            )
            self._result.remarks.setdefault("DEFAULT", []).append(
                f"install the packages of {', '.join(others)} beside hacore, for task_namespaces"
            )

        if FENCES in listed:
            self._result.remarks.setdefault(recovery_flows.GROUP, []).append(
                f"{FENCES} is a task of hacore, which uses the devices of [fencing] devices_file; "
                "register a task of your own under another name, or it never runs"
            )

    def _set(self, group: str, name: str, values: list[str]) -> None:
        self._result.sections.setdefault(group, {})[name] = values

    def _leave_out(self, group: str, name: str, reason: str) -> None:
        self._result.left_out.append((f"[{group}] {name}", reason))


def _library_options() -> dict[tuple[str, str], cfg.Opt]:
    """Return the options of the libraries by group and name, deprecated names included."""
    known = {}
    for group, option, old_names in installed_options(LIBRARIES):
        known[group, option.dest] = option
        known |= dict.fromkeys(old_names, option)
    return known
