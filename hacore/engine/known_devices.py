# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What is known of the fencing devices: which box each has shown, and which may not be used.

One box cannot be that of two hosts: then neither host may be switched by it.  Nor is a device that
says off while Nova hears its host the device of that host.
"""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Self

from hacore.db import devices
from hacore.db.devices import Seen
from hacore.db.engine import Database
from hacore.fencing.answers import Answer
from hacore.fencing.devices import Device
from hacore.fencing.identity import Identity
from hacore.fencing.placeholders import forms
from hacore.fencing.proving import Prover


class KnownDevices:
    """As it was when it was read.

    :ivar identities: by `Device.key`.
    """

    def __init__(self, seen: Iterable[Seen]) -> None:
        self._seen = {each.key: each for each in seen}
        self.identities: dict[tuple[str, str], Identity] = {}
        self._owners: dict[str, set[str]] = collections.defaultdict(set)
        for each in self._seen.values():
            if each.identity is not None:
                self.identities[each.key] = Identity(each.identity, each.verified)
                for form in forms(each.identity):
                    self._owners[form].add(each.host)

    @classmethod
    def read(cls, db: Database) -> Self:
        """Read it."""
        return cls(devices.all_of(db))

    def seen(self, device: Device) -> Seen | None:
        """Return what the last probe has shown; None: there was none."""
        return self._seen.get(device.key)

    def shares(self, host: str, identity: str | None) -> list[str]:
        """Return the other hosts whose devices show the same box."""
        if identity is None:
            return []
        return sorted(
            set().union(*(self._owners.get(form, ()) for form in forms(identity))) - {host}
        )

    def problem(self, device: Device) -> str | None:
        """Return why a device may not be used, though it answers; without a full stop."""
        seen = self._seen.get(device.key)
        if seen is None:
            return None
        if others := self.shares(device.host, seen.identity):
            return shared(seen.identity, others)
        return refuted(device.host) if seen.refuted_at is not None else None

    def judged(self, levels: Sequence[Sequence[Device]]) -> tuple[tuple[Device, ...], ...]:
        """Return the devices of a host, with what speaks against them."""
        return tuple(tuple(map(self._judged, level)) for level in levels)

    def ask(self, prover: Prover, device: Device) -> Answer:
        """Return what a device says of its host, where nothing speaks against it."""
        answer, _ = prover.status(self._judged(device), self.identities.get(device.key))
        return answer

    def _judged(self, device: Device) -> Device:
        return dataclasses.replace(device, problem=device.problem or self.problem(device))


def shared(identity: str | None, others: Sequence[str]) -> str:
    """Say that a box is that of other hosts, too."""
    return (
        f"it shows {identity}, and so does the device of {', '.join(others)}: one box cannot be "
        "that of two hosts, so neither is switched off by it; correct its address"
    )


def refuted(host: str) -> str:
    """Say that a device is not that of its host."""
    return (
        f"it said off while Nova heard {host}, so it is the device of another host; correct its "
        f"address, then run 'hacore-manage host test-fencing {host}'"
    )
