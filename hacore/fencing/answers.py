# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What a device answered: a verdict, and one sentence for an operator.

Agents end with 1 for every failure; the cause is only in what they say.
"""

import dataclasses
import datetime
import hashlib
import re

from hacore.clock import Clock
from hacore.fencing.devices import Device
from hacore.fencing.programs import Ended
from hacore.states import PowerVerdict

#: What these verdicts mean, and what to do; agents and `hacore.fencing.identity` find the same.
_MEANINGS = {
    PowerVerdict.UNTRUSTED: "its certificate cannot be verified, and it was given no password; put "
    "the certificate of its issuer into the file that REQUESTS_CA_BUNDLE names",
    PowerVerdict.DENIED: "it refuses the password or the rights of user {user}; correct them there "
    "or in the file of devices",
    PowerVerdict.MISCONFIGURED: "it does not know what it was asked for; check systems_uri, plug, "
    "cipher and privlvl",
    PowerVerdict.UNREACHABLE: "it does not answer; check its address, its power and the network to "
    "it",
    PowerVerdict.ON: "it took the order and the host is still on; switch it off by hand",
}
_OWN_ERROR = "it answered with an error of its own; if that stays so, restart its BMC"
_NO_LOGIN = "it does not answer, or refuses user {user}; check its address, user and password"

#: Of a run that failed, in this order: what the agent said, the verdict, and what it means.
_REASONS = (
    (r"CERTIFICATE_VERIFY_FAILED|SSLError|doesn't match", PowerVerdict.UNTRUSTED, None),
    (
        r'HTTP/1\.\d" 40[13] |RAKP 2 HMAC is invalid|unauthorized name|'
        r"Power Control to [^\n]* failed: Insufficient privilege|Set Session Privilege Level [^\n]*"
        r"failed|correct privileges|Authentication failure|incorrect password|Unknown user name",
        PowerVerdict.DENIED,
        None,
    ),
    (
        r'HTTP/1\.\d" 40[045] |KeyError|Unrecognised action|have to (set|enter)|valid choice|'
        r"invalid authentication alg|no matching cipher|not found or not acc",
        PowerVerdict.MISCONFIGURED,
        None,
    ),
    (r'HTTP/1\.\d" 5\d\d |[Ii]nsufficient resources', PowerVerdict.UNREACHABLE, _OWN_ERROR),
    (r"Timed out waiting to power OFF", PowerVerdict.ON, None),
    (r"Unable to connect/login", PowerVerdict.UNREACHABLE, _NO_LOGIN),
    (
        r"Max retries exceeded|[Tt]imed out|lookup for|Could not open socket|Connection lost|"
        r"No Response|Unable to establish",
        PowerVerdict.UNREACHABLE,
        None,
    ),
)
_POWER = re.compile(r"^(Status|Success: Powered|Success: Already):? (ON|OFF)\s*$", re.MULTILINE)
_QUOTED = 160  #: characters


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of one question to a device, or of one order.

    :ivar at: when it was understood, on this machine's clock.
    :ivar moment: the same on the monotonic clock, in seconds.
    :ivar sentence: with the device, and without a full stop.
    :ivar digest: sha256 of all that the agent said, without the password; "" where none ran.
    :ivar already: the agent sent no order: the host was off.
    """

    device: Device
    verdict: PowerVerdict
    sentence: str
    at: datetime.datetime
    moment: float
    digest: str = ""
    already: bool = False


def made(
    device: Device,
    verdict: PowerVerdict,
    meaning: str,
    clock: Clock,
    *,
    digest: str = "",
    already: bool = False,
) -> Answer:
    """Return an answer of now."""
    sentence = f"{device}: {meaning}"
    return Answer(device, verdict, sentence, clock.now(), clock.monotonic(), digest, already)


def understood(
    device: Device, action: str, ended: Ended, deadline_s: float, clock: Clock
) -> Answer:
    """Return what an agent that ended means; `action`: status or off."""
    said = scrubbed(device, f"{ended.code}\n{ended.out}\n{ended.err}")
    digest = hashlib.sha256(said.encode()).hexdigest()
    power = _power(action, ended)
    if power:
        verdict, already = power
        return made(device, verdict, f"it is {verdict}", clock, digest=digest, already=already)
    verdict, meaning = _failure(device, ended, deadline_s, said)
    return made(device, verdict, meaning, clock, digest=digest)


def failed(device: Device, verdict: PowerVerdict, clock: Clock, *, error: bool = False) -> Answer:
    """Return the answer of a device that hacore itself has asked; `error`: it answered with one."""
    meaning = _meant(device, _OWN_ERROR if error else _MEANINGS[verdict])
    return made(device, verdict, meaning, clock)


def scrubbed(device: Device, text: str) -> str:
    """Return a text without the password of a device, and its other secrets."""
    for secret in device.secrets:
        # the quotes are hacore's, around what a script has printed
        text = text.replace(secret, "***").replace(secret.strip('"') or secret, "***")
    return text


def _power(action: str, ended: Ended) -> tuple[PowerVerdict, bool] | None:
    """Return the state that an agent states, and whether it was so before; None: it does not.

    Its code and its words must agree, and there must be one statement.
    """
    stated = _POWER.findall(ended.out)
    if len(stated) != 1:
        return None
    match action, ended.code, *stated[0]:
        case "status", 2, "Status", "OFF":
            return PowerVerdict.OFF, False
        case "status", 0, "Status", "ON":
            return PowerVerdict.ON, False
        case "off", 0, "Success: Powered", "OFF":
            return PowerVerdict.OFF, False
        case "off", 0, "Success: Already", "OFF":
            return PowerVerdict.OFF, True
    return None


def _meant(device: Device, meaning: str) -> str:
    return meaning.format(user=device.options.get("username", "(none)"))


def _failure(
    device: Device, ended: Ended, deadline_s: float, said: str
) -> tuple[PowerVerdict, str]:
    if ended.code is None:
        return (
            PowerVerdict.UNREACHABLE,
            f"it did not answer within {deadline_s:g} s and the agent was killed; check its "
            f"address, its power and the network to it",
        )
    for pattern, verdict, meaning in _REASONS:
        if re.search(pattern, said):
            return verdict, _meant(device, meaning or _MEANINGS[verdict])
    lines = said.strip().splitlines()
    last = lines[-1][-_QUOTED:] if len(lines) > 1 else "nothing"
    return (
        PowerVerdict.UNKNOWN,
        f"its answer is not understood (exit {ended.code}: {last}); run {device.agent.program} "
        f"by hand",
    )
