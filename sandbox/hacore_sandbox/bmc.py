# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The BMCs: one for each host, which switches its power and says who it is.

A BMC has a power supply and a network of its own: it answers while its host is dead or cut
off, unless its mode is `dead`.  Its door is /bmc/{name}, with a user and a password; what the
commands of a test do to it is in control.py.
"""

import base64
import binascii
import dataclasses
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from hacore_sandbox.model import Refused
from hacore_sandbox.state import State
from hacore_sandbox.wire import Answer, Call, Json

#: What becomes of an order: `delay` carries it out late, `lies` accepts it and does nothing;
#: `dead` answers nothing at all.
MODES = ("normal", "delay", "lies", "dead")
#: Password, and whether the user may switch.
ACCOUNTS = {"admin": ("admin", True), "reader": ("reader", False)}
_SILENCE_S = 600.0  # of a dead one, until the connection is closed
_BOXES = uuid.UUID("0f9c0d3a-5a8e-4b47-9c2f-6d1a7b3e8c55")


@dataclasses.dataclass(frozen=True)
class Order:
    """An order that was accepted, `at` seconds after the start of the cloud."""

    at: float
    user: str
    power: str


@dataclasses.dataclass
class Bmc:
    """The device that is known as that of host `name`."""

    name: str
    box: str  #: the host that it really is in, and switches
    mode: str = "normal"
    delay_s: float = 5.0  #: of mode `delay`
    identity: str | None = None  #: None: that of the box
    orders: list[Order] = dataclasses.field(default_factory=list)


class Bmcs:
    """All of them.  `switch` switches a host, by its name."""

    def __init__(self, state: State, switch: Callable[[str, bool], None]) -> None:
        self._state = state
        self._switch = switch
        self._bmcs = {name: Bmc(name, box=name) for name in state.hosts}

    def get(self, name: str) -> Bmc:
        if name not in self._bmcs:
            raise Refused(404, f"There is no BMC {name}.")
        return self._bmcs[name]

    def add(self, name: str, box: str) -> None:
        """One more device of a host, such as an outlet of a power strip."""
        self._bmcs[name] = Bmc(name, box=box)

    def all(self) -> list[Bmc]:
        return list(self._bmcs.values())

    def change(self, name: str, values: Mapping[str, Any]) -> Bmc:
        """Set what `values` names; Refused leaves all unchanged."""
        bmc = self.get(name)
        changed = dataclasses.replace(bmc, **values)
        if changed.mode not in MODES:
            raise Refused(400, f"mode must be one of {', '.join(MODES)}")
        if not isinstance(changed.delay_s, int | float) or changed.delay_s < 0:
            raise Refused(400, "delay_s must be a number that is not negative")
        if changed.identity is not None and not isinstance(changed.identity, str):
            raise Refused(400, "identity must be a string, or null for that of the box")
        self._state.host(str(changed.box))
        self._bmcs[name] = changed
        return changed

    def power(self, bmc: Bmc) -> str:
        """on or off: what is so, in each mode."""
        return "on" if self._state.host(bmc.box).powered else "off"

    def identity(self, bmc: Bmc) -> str:
        """The UUID that it shows, the same for a host in every sandbox."""
        return bmc.identity or str(uuid.uuid5(_BOXES, bmc.box))

    def order(self, bmc: Bmc, power: str, user: str) -> None:
        """Accept an order."""
        bmc.orders.append(Order(self._state.now, user, power))
        if bmc.mode == "normal":
            self._switch(bmc.box, power == "on")
        elif bmc.mode == "delay":
            box = bmc.box
            self._state.timeline.after(bmc.delay_s, lambda: self._switch(box, power == "on"))


class BmcDoor:
    """What a fence agent talks to, one method for each call."""

    def __init__(self, bmcs: Bmcs) -> None:
        self._bmcs = bmcs

    def routes(self) -> list[tuple[str, str, Callable[[Call], Answer]]]:
        return [("/bmc/{name}", "GET", self.show), ("/bmc/{name}", "POST", self.switch)]

    def show(self, call: Call) -> Answer:
        """{"power": "on", "identity": "..."}"""
        bmc = self._bmcs.get(call.ids["name"])
        if bmc.mode == "dead":
            return _silence()
        if _user(call) is None:
            return _denied()
        shown = {"power": self._bmcs.power(bmc), "identity": self._bmcs.identity(bmc)}
        return Answer(shown)

    def switch(self, call: Call) -> Answer:
        """{"power": "off"}; the answer is that it is accepted, not that it is done."""
        bmc = self._bmcs.get(call.ids["name"])
        if bmc.mode == "dead":
            return _silence()
        user = _user(call)
        if user is None:
            return _denied()
        if not ACCOUNTS[user][1]:
            raise Refused(403, f"User {user} may not switch.")
        power = call.json().get("power")
        if power not in ("on", "off"):
            raise Refused(400, "power must be on or off")
        self._bmcs.order(bmc, power, user)
        return Answer(status=202)


def _user(call: Call) -> str | None:
    """The user whose name and password the call has."""
    kind, _, text = call.headers.get("authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    known = ACCOUNTS.get(user)
    return user if kind == "Basic" and known and known[0] == password else None


def _denied() -> Answer:
    body: Json = {"error": "The user or the password is wrong."}
    return Answer(body, status=401, headers={"WWW-Authenticate": 'Basic realm="BMC"'})


def _silence() -> Answer:
    return Answer(drop=True, delay_s=_SILENCE_S)
