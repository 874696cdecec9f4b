# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Asks fence agents of ClusterLabs: options over standard input, never on a command line."""

import logging
import re

from hacore.fencing.answers import Answer, made, understood
from hacore.fencing.devices import Device
from hacore.fencing.installed import Family
from hacore.fencing.programs import CannotRun, Command, Programs
from hacore.states import PowerVerdict

LOG = logging.getLogger(__name__)

#: What an agent needs to say why it failed.  Never for those that speak to a terminal (ssh,
#: telnet): they log what they send, the password too.
_TALKATIVE = {
    "fence_redfish": {"verbose": "1"},
    "fence_ironic": {"verbose": "1"},
}
#: The host is read again by hacore: the agent need not wait before it reads.
_IPMI = {"verbose_level": "2", "power_wait": "0"}

#: An agent gives up before it is killed, or nobody hears what it has seen.  It does not count
#: seconds but rounds: it sleeps for one, and reads the state for as long as the device takes.
_POWER_MARGIN_S, _ROUND_S = 3, 1.5
_SCRIPT_S = 20.0
_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f]+")


def ask(device: Device, action: str, deadline_s: float, programs: Programs) -> Answer:
    """Send one action, ``status`` or ``off``, and return what came of it.

    Raises what the guard raises; the agent has ended then, and an order may be carried out.
    """
    command = Command(device.agent.program, given=_given(device, action, deadline_s))
    try:
        ended = programs.run(command, deadline_s)
    except CannotRun as exc:
        return misconfigured(device, str(exc), programs)
    answer = understood(device, action, ended, deadline_s, programs.clock)
    LOG.debug("%s of %s: %s", action, device, answer.verdict)
    return answer


def with_password(device: Device, programs: Programs) -> Device | Answer:
    """Return the device with the password that its script prints, or why there is none.

    Not left to the agent: it would log in with an empty one where the script fails, and devices
    lock out who does that.
    """
    script = device.options.get("password_script")
    if not script:
        return device
    try:
        ended = programs.run(Command("/bin/sh", ("-c", script)), _SCRIPT_S)
    except CannotRun as exc:
        return misconfigured(device, str(exc), programs)
    password = ended.out.rstrip()
    why = None
    if ended.code is None:
        why = f"did not end within {_SCRIPT_S:g} s"
    elif ended.code:
        why = f"ended with {ended.code}"
    elif not _ONE_LINE.fullmatch(password):
        why = "did not print one line"
    if why:
        return misconfigured(device, f"password_script {why}; run it by hand", programs)
    return device.with_password(password)


def misconfigured(device: Device, why: str, programs: Programs) -> Answer:
    """Return the answer of a device that was not asked."""
    return made(device, PowerVerdict.MISCONFIGURED, why, programs.clock)


def _given(device: Device, action: str, deadline_s: float) -> str:
    options = {
        "power_timeout": str(max(1, int((deadline_s - _POWER_MARGIN_S) / _ROUND_S))),
        **(_IPMI if device.family is Family.IPMI else _TALKATIVE.get(device.agent.name, {})),
        **device.options,
        "action": action,  # their default is reboot
    }
    return "".join(f"{key}={value}\n" for key, value in options.items())
