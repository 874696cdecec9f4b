# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Is it the right box?  What a device shows of the host that it switches.

*Verified*: the file of devices names it.
*Learned*: it is what the device has shown before, so the box was not swapped; that it is the
host's box, it does not show.  Nothing that Nova knows of a host equals what its BMC shows.
"""

import dataclasses
import json
import os
import re
import ssl
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import requests

from hacore.fencing.agents import misconfigured
from hacore.fencing.answers import Answer, failed, made, understood
from hacore.fencing.devices import Device
from hacore.fencing.installed import Family
from hacore.fencing.placeholders import forms, is_placeholder
from hacore.fencing.programs import CA_BUNDLE, CannotRun, Command, Programs
from hacore.states import CanOff, PowerVerdict

_CONNECT_S, _READ_S = 5.0, 10.0
_LARGEST = 1024 * 1024  #: bytes of an answer

#: Of a Redfish system, in the order of preference.  SKU is Dell's service tag.
_SHOWN = ("UUID", "SerialNumber", "SKU", "AssetTag")
_RESET, _ALLOWED = "#ComputerSystem.Reset", "ResetType@Redfish.AllowableValues"
_FORCE_OFF = "ForceOff"  #: fence_redfish sends no other
_HIGHEST = "administrator"  #: the privilege that agents ask for by default
_GET_SYSTEM_GUID = ("raw", "0x06", "0x37")
_GET_LAN_MAC = ("raw", "0x0c", "0x02", "0x0e", "0x05", "0x00", "0x00")
#: ipmitool's words for a completion code: the BMC works, and does not know the command.
_NOT_SUPPORTED = re.compile(r"rsp=0x[0-9a-f]{2}\)")


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a box is known by.

    :ivar value: None: it shows nothing that only it has.
    :ivar can_off: whether the user may switch it off, as far as reading it shows.
    """

    value: str | None
    verified: bool
    can_off: CanOff = dataclasses.field(default=CanOff.UNKNOWN, compare=False)


@dataclasses.dataclass(frozen=True)
class _Shown:
    """What a device shows of its box, the best first."""

    values: list[str]
    can_off: CanOff


def check(
    device: Device, known: Identity | None, deadline_s: float, programs: Programs
) -> Identity | Answer:
    """Return the identity that a device shows, or why it may not be used.

    :param device: with its password; see `hacore.fencing.agents.with_password`.
    :param known: what it has shown before.
    :param deadline_s: for each request.
    """
    expected = Identity(device.identity, verified=True) if device.identity else known
    wanted = expected.value if expected else None
    if device.family is Family.REDFISH:
        shown = _of_redfish(device, deadline_s, programs)
    elif device.family is Family.IPMI:
        shown = _of_ipmi(device, wanted, deadline_s, programs)
    else:
        return Identity(None, verified=False)
    if isinstance(shown, Answer):
        return shown
    good = [value for value in shown.values if not is_placeholder(value)]
    if expected is None or wanted is None:
        return Identity(good[0] if good else None, verified=False, can_off=shown.can_off)
    if _is_one_of(wanted, good):
        return dataclasses.replace(expected, can_off=shown.can_off)
    return _wrong_box(device, wanted, good, programs)


def _is_one_of(wanted: str, shown: Iterable[str]) -> bool:
    return any(forms(wanted) & forms(value) for value in shown)


def _wrong_box(device: Device, wanted: str, good: list[str], programs: Programs) -> Answer:
    source = "the file of devices names" if device.identity else "it has shown before"
    meaning = (
        f"it shows {' and '.join(good) or 'no identity'}, not {wanted}, which {source}, "
        f"so nothing was switched; check which host is behind its address"
    )
    return made(device, PowerVerdict.WRONG_BOX, meaning, programs.clock)


def _of_redfish(device: Device, deadline_s: float, programs: Programs) -> _Shown | Answer:
    """Return what the system shows, the best first."""
    programs.guard.check()
    get = device.options.get
    # HOST:PORT, or an IPv6 address in brackets, as the agent reads it
    port = "" if get("ip", "").count(":") == 1 else f":{get('ipport') or 443}"
    url = f"https://{get('ip')}{port}{get('systems_uri')}"
    clock = programs.clock
    try:
        login = get("username", ""), _unquoted(get("password", ""))
        status, text = _fetch(url, login, deadline_s, programs)
    except requests.exceptions.SSLError:
        return failed(device, PowerVerdict.UNTRUSTED, clock)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError):
        return failed(device, PowerVerdict.MISCONFIGURED, clock)
    except (requests.RequestException, TimeoutError):
        return failed(device, PowerVerdict.UNREACHABLE, clock)
    if status in (401, 403):
        return failed(device, PowerVerdict.DENIED, clock)
    if status >= 500:
        return failed(device, PowerVerdict.UNREACHABLE, clock, error=True)
    system = _system(text) if status == 200 else None
    if system is None:
        return failed(device, PowerVerdict.MISCONFIGURED, clock)
    values = [str(system[key]).strip() for key in _SHOWN if system.get(key)]
    return _Shown(values, _can_be_forced_off(system))


def _can_be_forced_off(system: Mapping[str, Any]) -> CanOff:
    """Return NO where the system does not take the order of the agent, whoever gives it.

    That the user may give it, no read of the system shows.
    """
    actions = system.get("Actions")
    reset = actions.get(_RESET) if isinstance(actions, dict) else None
    allowed = reset.get(_ALLOWED) if isinstance(reset, dict) else None
    if isinstance(allowed, list) and allowed and _FORCE_OFF not in allowed:
        return CanOff.NO
    return CanOff.UNKNOWN


def _fetch(
    url: str, login: tuple[str, str], deadline_s: float, programs: Programs
) -> tuple[int, bytes]:
    """Return status and body; raises requests' exceptions, and TimeoutError."""
    end = programs.clock.monotonic() + deadline_s
    paths = ssl.get_default_verify_paths()
    with requests.Session() as session:
        session.trust_env = False  # no proxy and no .netrc, as agents have none
        session.verify = os.environ.get(CA_BUNDLE) or paths.cafile or paths.capath or True
        session.auth = login
        with session.get(
            url,
            headers={"Accept": "application/json", "OData-Version": "4.0"},
            timeout=(min(_CONNECT_S, deadline_s), min(_READ_S, deadline_s)),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = b""
            for part in response.iter_content(65536):
                body += part
                if len(body) > _LARGEST or programs.clock.monotonic() > end:
                    raise TimeoutError
            return response.status_code, body


def _system(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _unquoted(value: str) -> str:
    """Return an option as agents read it."""
    return re.sub(r'^"(.*)"$', r"\1", value)


def _of_ipmi(
    device: Device, wanted: str | None, deadline_s: float, programs: Programs
) -> _Shown | Answer:
    """Return the GUID of the system; where that is not it, or is none, the BMC's MAC too."""
    level = device.options.get("privlvl") or _HIGHEST
    # the BMC has opened a session of this level, or else it has not answered
    can_off = CanOff.YES if level in (_HIGHEST, "operator") else CanOff.NO
    raw = _ipmitool(device, _GET_SYSTEM_GUID, deadline_s, programs)
    if isinstance(raw, Answer):
        return raw
    shown = [str(uuid.UUID(bytes=raw))] if len(raw) == 16 else []
    good = [value for value in shown if not is_placeholder(value)]
    if good and (wanted is None or _is_one_of(wanted, good)):
        return _Shown(shown, can_off)
    raw = _ipmitool(device, _GET_LAN_MAC, deadline_s, programs)
    if isinstance(raw, Answer):
        return raw
    if len(raw) == 7:  # the first is a version
        shown.append(raw[1:].hex(":"))
    return _Shown(shown, can_off)


def _ipmitool(
    device: Device, request: tuple[str, ...], deadline_s: float, programs: Programs
) -> bytes | Answer:
    """Return the bytes that a BMC answers; none where it does not know the request."""
    get = device.options.get
    where = ("-H", get("ip", ""), "-p", get("ipport") or "623", "-U", get("username", ""))
    how = ("-I", "lanplus", "-C", get("cipher", ""), "-L", get("privlvl") or _HIGHEST)
    # -E: the password is in the environment, where only this user sees it; -v: why it failed
    command = Command(
        "ipmitool",
        (*how, *where, "-E", "-v", *request),
        environment={"IPMI_PASSWORD": _unquoted(get("password", ""))},
    )
    try:
        ended = programs.run(command, deadline_s)
    except CannotRun as exc:
        return misconfigured(device, str(exc), programs)
    if ended.code == 0:
        try:
            return bytes.fromhex(ended.out)
        except ValueError:
            return b""
    if _NOT_SUPPORTED.search(ended.err):
        return b""
    return understood(device, "identity", ended, deadline_s, programs.clock)
