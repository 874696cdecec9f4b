# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Reads fencing.ini, and refuses what would switch off another host, or nothing.

Each refusal is one sentence that names the file, the section, the key, and what to do; it never
quotes the value of an agent's option.
"""

import configparser
import os
import re
import stat
from collections.abc import Collection, Mapping

from hacore.errors import ConfigError
from hacore.fencing import installed
from hacore.fencing.devices import HOST_NAME, DeviceClass, Devices, Settings, is_pattern
from hacore.fencing.installed import Agent, Family
from hacore.fencing.placeholders import is_placeholder
from hacore.fencing.programs import CannotRun, Command, Programs

OURS = "hacore"  #: the section that is no class

_OWN = frozenset({"hosts", "level", "agent", "plugs", "identity"})
#: What an exception may not set: which hosts there are is said once.
_OF_A_CLASS = ("hosts", "plugs")
_SET_BY_HACORE = frozenset(
    {
        *("action", "debug", "debug_file", "delay", "disable_timeout", "help", "power_timeout"),
        *("quiet", "verbose", "verbose_level", "version"),
    }
)
_REFUSED = "it names a program to run, or stands on the command line of one; delete the key"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VALIDATE_S = 20.0


class Wrong(Exception):
    """A section is wrong: the key, or "", and a sentence without full stop.

    :ivar host: of the exception that is wrong; "": it is the class.
    """

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key
        self.host = ""


def read(path: str, programs: Programs, folders: Collection[str] = installed.FOLDERS) -> Devices:
    """Read a file of devices, and check it against the agents of this machine.

    Raises ConfigError with one sentence.
    """
    sections = _sections(path, _text(path))
    reader = _Reader(programs, folders)
    region = None
    classes: dict[str, dict[str, Mapping[str, str]]] = {}
    for section, values in sections.items():
        try:
            words = section.split()
            if words == [OURS]:
                region = _region(values)
            else:
                _sort(words, values, classes)
        except Wrong as exc:
            raise _refused(path, section, exc) from None
    made = []
    for name, parts in classes.items():
        try:
            made.append(reader.made(name, parts))
        except Wrong as exc:
            raise _refused(path, f"{name} {exc.host}".rstrip(), exc) from None
    devices = Devices(region, tuple(made))
    for problem in devices.problems([]):
        raise ConfigError(f"{path}: {problem}")
    return devices


def _refused(path: str, section: str, exc: Wrong) -> ConfigError:
    key = f" {exc.key}" if exc.key else ""
    return ConfigError(f"{path}, [{section}]{key}: {exc}.")


def _text(path: str) -> str:
    """Return the text of a file that nobody but root and this user can have written."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())  # of the file that is read, not of the path
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{path} is not a file; correct [fencing] devices_file.")
            if found.st_mode & stat.S_IRWXO:
                raise ConfigError(
                    f"{path} holds passwords and others may use it (mode "
                    f"{stat.S_IMODE(found.st_mode):04o}); run chmod o= {path}."
                )
            if found.st_uid not in (0, os.geteuid()):
                raise ConfigError(
                    f"{path} belongs to user {found.st_uid}, who could have any host switched "
                    f"off; run chown root {path}."
                )
            return file.read().decode()
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be read: {exc.strerror}; correct [fencing] devices_file, or let the "
            f"user that runs hacore read it (chown root:hacore, chmod 0640)."
        ) from exc
    except UnicodeDecodeError:
        pass
    raise ConfigError(f"{path} is not UTF-8; save it as UTF-8.")


def _sections(path: str, text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(
        delimiters=("=",),
        interpolation=None,
        empty_lines_in_values=False,
        default_section="",  # a [DEFAULT] would reach into every class
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
        return {name: dict(parser[name]) for name in parser.sections()}
    # of what the parser says only the place is repeated: it quotes the line
    except configparser.DuplicateSectionError as exc:
        wrong = f"line {exc.lineno}: [{exc.section}] is there twice; make it one section"
    except configparser.DuplicateOptionError as exc:
        wrong = f"line {exc.lineno}: [{exc.section}] has {exc.option} twice; delete one"
    except configparser.MissingSectionHeaderError as exc:
        wrong = f"line {exc.lineno} is in no section; write a line such as [idrac] above it"
    except configparser.ParsingError as exc:
        lines = ", ".join(str(number) for number, _ in exc.errors)
        wrong = f"line {lines} is not KEY = VALUE; correct it"
    raise ConfigError(f"{path}, {wrong}.")


def _region(values: Mapping[str, str]) -> str | None:
    for key in values:
        if key != "region":
            raise Wrong(key, "this section has the key region alone; delete the other")
    return values.get("region") or None


def _sort(
    words: list[str],
    values: Mapping[str, str],
    classes: dict[str, dict[str, Mapping[str, str]]],
) -> None:
    """Put a section to its class, under the host that it is for; "": the class itself."""
    if len(words) == 1:
        classes[words[0]] = {"": values}
        return
    if len(words) != 2:
        raise Wrong("", "a section is [CLASS], or [CLASS HOST] for one host of it; correct it")
    name, host = words
    if name not in classes:
        raise Wrong("", f"there is no section [{name}] above it; put the exception below its class")
    for key in _OF_A_CLASS:
        if key in values:
            raise Wrong(key, f"this is a key of the class alone; put it into [{name}]")
    classes[name][host] = values


class _Reader:
    """Makes classes; asks each agent once what it takes."""

    def __init__(self, programs: Programs, folders: Collection[str]) -> None:
        self._programs, self._folders = programs, folders
        self._agents: dict[str, Agent] = {}

    def made(self, name: str, parts: dict[str, Mapping[str, str]]) -> DeviceClass:
        values = parts[""]
        hosts = tuple(values.get("hosts", "").split())
        if not hosts:
            raise Wrong("hosts", "no host is named; write names or patterns such as compute-*")
        made = DeviceClass(
            name,
            hosts,
            _plugs(values),
            {host: self._settings(values, host, parts[host]) for host in parts},
        )
        _check_hosts(made)
        self._validate(made)
        return made

    def _settings(
        self, values: Mapping[str, str], host: str, exception: Mapping[str, str]
    ) -> Settings:
        """Return the settings of a host; "": of all that have no exception."""
        try:
            return self._merged({**values, **exception})
        except Wrong as exc:
            exc.host = host
            raise

    def _merged(self, merged: Mapping[str, str]) -> Settings:
        options = {key: value for key, value in merged.items() if key not in _OWN}
        agent = self._agent(merged.get("agent", ""))
        _check_options(agent, options)
        identity = merged.get("identity") or None
        if identity and agent.family is Family.OTHER:
            raise Wrong(
                "identity", f"{agent.name} does not show which box it switches; delete the key"
            )
        if identity and is_placeholder(identity):
            raise Wrong("identity", "many boxes show this value; write another one, or delete it")
        return Settings(agent, _level(merged), identity, options)

    def _agent(self, name: str) -> Agent:
        if not name:
            raise Wrong("agent", "no agent is named; write agent = fence_redfish, or another one")
        try:
            if name not in self._agents:
                self._agents[name] = installed.find(name, self._programs, self._folders)
            return self._agents[name]
        except installed.Unusable as exc:
            raise Wrong("agent", str(exc)) from exc

    def _validate(self, made: DeviceClass) -> None:
        """Have the agent itself look at the options, for one host of the class."""
        host = next(iter(made.named()), "host")
        device = made.device(host)
        if device.problem:
            return  # a pattern whose hosts have exceptions, or a problem that is named later
        given = "".join(f"{key}={value}\n" for key, value in device.options.items())
        command = Command(device.agent.program, given=f"{given}action=validate-all\n")
        try:
            ended = self._programs.run(command, _VALIDATE_S)
        except CannotRun as exc:
            raise Wrong("agent", str(exc)) from exc
        if ended.code != 0:
            said = re.search(r"(Failed: .*)", ended.err)
            words = said[1].rstrip() if said else f"it ended with {ended.code}"
            for secret in device.secrets:
                words = words.replace(secret, "***")
            raise Wrong("", f"{device.agent.name} refuses these options ({words}); correct them")


def _level(values: Mapping[str, str]) -> int:
    level = values.get("level", "1")
    if not re.fullmatch(r"[1-9]", level):
        raise Wrong("level", f"{level!r} is not a number from 1 to 9; correct it")
    return int(level)


def _plugs(values: Mapping[str, str]) -> dict[str, str]:
    plugs: dict[str, str] = {}
    for word in values.get("plugs", "").split():
        host, _, plug = word.partition(":")
        if not host or not plug or host in plugs:
            raise Wrong("plugs", f"{word!r} is not HOST:PLUG, once for each host; correct it")
        plugs[host] = plug
    if plugs and "plug" in values:
        raise Wrong("plug", "plugs names the plug of each host; delete one of the two")
    return plugs


def _check_hosts(made: DeviceClass) -> None:
    for host in made.named():
        if not made.covers(host):
            raise Wrong("hosts", f"{host} is named below, and is no host of this class; add it")
        if not HOST_NAME.fullmatch(host):
            raise Wrong(
                "hosts",
                f"{host!r} cannot be used for fencing: only letters, digits and . _ - are let "
                f"through, and no - at the beginning",
            )
    several = len(made.named()) > 1 or any(is_pattern(host) for host in made.hosts)
    if several and made.settings[""].identity:
        raise Wrong("identity", f"it is that of one host; put it into [{made.name} HOST]")
    one, other = (made.device(host) for host in ("a", "b"))
    pattern = any(is_pattern(host) for host in made.hosts)
    if pattern and not one.problem and one.targets() & other.targets():
        raise Wrong(
            "hosts",
            "every host of the pattern would have one device, and be switched off for any "
            "other; put {host} into ip or systems_uri, or use plugs",
        )


def _check_options(agent: Agent, options: Mapping[str, str]) -> None:
    for key, value in options.items():
        if _CONTROL.search(value):
            raise Wrong(
                key, "it has a second line or a control character; put the value on one line"
            )
        if key in _SET_BY_HACORE:
            raise Wrong(key, "hacore sets it for each call; delete the key")
        if key.endswith("_path") or key == "hexadecimal_kg":
            raise Wrong(key, _REFUSED)
        if key == "ssl_insecure":
            raise Wrong(
                key,
                "the password would go to whoever answers; delete the key, and put the "
                "certificate of the device into the file that REQUESTS_CA_BUNDLE names",
            )
        if key in agent.replaced:
            raise Wrong(key, f"it is the old name of {agent.replaced[key]}; write the new one")
        if key not in agent.options:
            raise Wrong(
                key,
                f"{agent.name} has no such option and would ignore it; see man {agent.name}",
            )
    if agent.family is Family.REDFISH and not options.get("systems_uri"):
        raise Wrong(
            "systems_uri",
            f"{agent.name} switches off the last system that it finds without it; write "
            f"systems_uri = /redfish/v1/Systems/ID",
        )
    if agent.family is Family.IPMI:
        _check_ipmi(agent, options)


def _check_ipmi(agent: Agent, options: Mapping[str, str]) -> None:
    if options.get("lanplus") != "1":
        raise Wrong("lanplus", f"{agent.name} may speak IPMI 1.5 without it; write lanplus = 1")
    if not options.get("cipher"):
        raise Wrong(
            "cipher",
            "ipmitool may ask for it for 10 s at each call; write cipher = 17, or 3 where the "
            "device is older",
        )


class DevicesFile:
    """The devices of a file, which is read again when it has changed.

    :ivar devices: of the last file that was right.
    :ivar problem: why the file of now is not taken; None: it is.
    """

    def __init__(
        self, path: str, programs: Programs, folders: Collection[str] = installed.FOLDERS
    ) -> None:
        """Read it; raises ConfigError where it is wrong.  An empty path: no devices."""
        self._path, self._programs, self._folders = path, programs, folders
        self._seen = self._mark()
        self.devices = read(path, programs, folders) if path else Devices()
        self.problem: str | None = None

    def refresh(self) -> bool:
        """Read it again if it has changed; True if there are new devices or a new problem."""
        seen = self._mark()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.devices = read(self._path, self._programs, self._folders)
            self.problem = None
        except ConfigError as exc:
            self.problem = f"{exc} The devices of before are used."
        return True

    @property
    def mark(self) -> str:
        """What differs once the file was changed; it says nothing of what is in it."""
        return "" if self._seen is None else str(self._seen[-2])

    def _mark(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
