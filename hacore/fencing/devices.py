# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The fencing devices of hosts, as `hacore.fencing.file` reads them."""

import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping

from hacore.fencing.installed import Agent, Family

#: A host name is put into options, and into a command of a shell: nothing else is let through.
HOST_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*")

_HOST = "{host}"
_SECRET = re.compile(r"passw|community|token|secret|api_?key|_kg$")


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that switches one host.

    :ivar name: of its class in the file.
    :ivar options: what its agent is given; they hold the password.
    :ivar identity: what the box must show; None: whatever it shows is learned.
    :ivar problem: why it cannot be used; None: it can.
    """

    host: str
    name: str
    level: int
    agent: Agent
    options: Mapping[str, str] = dataclasses.field(repr=False)
    identity: str | None = None
    problem: str | None = None

    def __str__(self) -> str:
        return f"{self.host}, device {self.place}"

    @property
    def key(self) -> tuple[str, str]:
        """Host and name: one device, whatever else the file says of it."""
        return self.host, self.name

    @property
    def place(self) -> str:
        at = self.options.get("ip") or self.options.get("plug")
        return f"{self.name} ({self.agent.name}{f' at {at}' if at else ''})"

    @property
    def family(self) -> Family:
        return self.agent.family

    @property
    def secrets(self) -> list[str]:
        """The values that nobody may see, the longest first."""
        values = {value for key, value in self.options.items() if value and _SECRET.search(key)}
        return sorted(values, key=len, reverse=True)

    def with_password(self, password: str) -> "Device":
        """Return it with the password that its script has printed."""
        options = {key: value for key, value in self.options.items() if key != "password_script"}
        # agents strip a value, and take its outer quotes off
        return dataclasses.replace(self, options={**options, "password": f'"{password}"'})

    def targets(self) -> set[tuple[str, ...]]:
        """What it switches: no two hosts have one in common."""
        get = self.options.get
        where = (self.agent.name, get("ip", "").lower(), get("ipport", ""), get("systems_uri", ""))
        return {(*where, plug.strip()) for plug in get("plug", "").split(",")}


@dataclasses.dataclass(frozen=True)
class DeviceClass:
    """A section of the file, with the exceptions that lie over it.

    :ivar hosts: names, or patterns with ``*``, ``?`` or ``[...]``.
    :ivar settings: of each host with an exception, and of all others under "".
    """

    name: str
    hosts: tuple[str, ...]
    plugs: Mapping[str, str]
    settings: Mapping[str, "Settings"]

    def covers(self, host: str) -> bool:
        """Whether it is a device of this host; the whole name is compared."""
        return any(fnmatch.fnmatchcase(host, pattern) for pattern in self.hosts)

    def named(self) -> list[str]:
        """The hosts that the file names."""
        plain = [host for host in self.hosts if not is_pattern(host)]
        return list(dict.fromkeys([*plain, *self.plugs, *filter(None, self.settings)]))

    def device(self, host: str) -> Device:
        """Return the device of a host that it covers."""
        settings = self.settings.get(host, self.settings[""])
        options = {
            key: value if key == "password" else value.replace(_HOST, host)
            for key, value in settings.options.items()
        }
        if host in self.plugs:
            options["plug"] = self.plugs[host]
        return Device(
            host,
            self.name,
            settings.level,
            settings.agent,
            options,
            settings.identity,
            self._problem(host, settings.agent, options),
        )

    def _problem(self, host: str, agent: Agent, options: Mapping[str, str]) -> str | None:
        if not HOST_NAME.fullmatch(host):
            return (
                f"the host name {host!r} cannot be used for fencing: only letters, digits and "
                f". _ - are let through, and no - at the beginning"
            )
        if self.plugs and host not in self.plugs:
            return f"[{self.name}] plugs has no plug for {host}: add {host}:PLUG"
        if "ip" in agent.options and not options.get("ip") and "port_as_ip" not in options:
            return f"[{self.name}] has no ip for {host}: write it into [{self.name} {host}]"
        return None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a section says of one host, or of all that have no exception."""

    agent: Agent
    level: int
    identity: str | None
    options: Mapping[str, str] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Devices:
    """All devices of a file.

    :ivar region: the one whose hosts they are; None where the file does not say.
    """

    region: str | None = None
    classes: tuple[DeviceClass, ...] = ()

    def of(self, host: str) -> tuple[tuple[Device, ...], ...]:
        """Return the devices of a host, by level; empty: it has none."""
        found = [made.device(host) for made in self.classes if made.covers(host)]
        return tuple(
            tuple(device for device in found if device.level == level)
            for level in sorted({device.level for device in found})
        )

    def named(self) -> list[str]:
        """The hosts that the file names, rather than matches by a pattern."""
        return list(dict.fromkeys(host for made in self.classes for host in made.named()))

    def problems(self, hosts: Iterable[str]) -> list[str]:
        """Return a sentence for each device of these hosts, and of those named, that is unusable.

        Only here do two hosts show that a pattern covers, and whose devices are one.
        """
        return list(self._problems(list(dict.fromkeys([*self.named(), *hosts]))))

    def _problems(self, hosts: list[str]) -> Iterator[str]:
        owners: dict[tuple[str, ...], Device] = {}
        boxes: dict[str, Device] = {}
        for device in (device for host in hosts for level in self.of(host) for device in level):
            if device.problem:
                yield f"{device.problem}."
                continue
            for target in device.targets():
                other = owners.setdefault(target, device)
                if other.host != device.host:
                    yield (
                        f"{other.host} and {device.host} have the same device, {device.place}: one "
                        f"would be switched off for the other; correct ip, ipport, systems_uri or "
                        f"plug in [{device.name}]."
                    )
            if device.identity:
                other = boxes.setdefault(device.identity.casefold(), device)
                if other.host != device.host:
                    yield (
                        f"{other.host} and {device.host} have one identity, {device.identity}: "
                        f"correct it in [{device.name} {device.host}]."
                    )


def is_pattern(host: str) -> bool:
    """Whether it stands for several hosts."""
    return any(character in host for character in "*?[")
