# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A Redfish service: sushy-tools' emulator, with a host that is a folder of files.

    python -m tests.fencing.redfish_emulator FOLDER PORT CERTIFICATE KEY

Loopback only.  User admin, with PASSWORD of tests.fencing.  In FOLDER: power (On or Off) is the
host, behave says what an order does (normal, ignore, refuse, forbid, hang), delay after how many
seconds.
"""

import pathlib
import sys
import time
from typing import Any

import bcrypt
from sushy_tools import error
from sushy_tools.emulator import main
from sushy_tools.emulator.resources.systems import fakedriver

from tests.fencing import PASSWORD

#: Of the two systems, which are one host.
UUIDS = tuple(f"4c4c4544-0051-4810-8050-b1c04f4d000{number}" for number in (1, 2))


class Host:
    """The host behind the service."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def power(self) -> str:
        pending = self._folder / "pending"
        if pending.exists():
            at, value = pending.read_text().split()
            if time.time() >= float(at):
                pending.unlink()
                (self._folder / "power").write_text(value)
        return (self._folder / "power").read_text().strip()

    def order(self, value: str) -> None:
        match (self._folder / "behave").read_text().strip():
            case "ignore":
                return
            case "refuse":
                raise error.FishyError("power control busy", 503)
            case "forbid":
                raise error.FishyError("not for this user", 403)
            case "hang":
                time.sleep(600)
        delay_s = float((self._folder / "delay").read_text())
        (self._folder / "pending").write_text(f"{time.time() + delay_s} {value}")


def serve(folder: pathlib.Path, port: str, certificate: str, key: str) -> None:
    """Serve until the process is killed."""
    host = Host(folder)

    def get(_: Any, __: str) -> str:
        return host.power()

    def put(_: Any, __: str, state: str) -> None:
        host.order("On" if "On" in state else "Off")

    fakedriver.FakeDriver.get_power_state = get
    fakedriver.FakeDriver.set_power_state = put
    users, config, state = folder / "htpasswd", folder / "sushy.conf", folder / "state"
    state.mkdir()
    users.write_text("admin:" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode() + "\n")
    systems = [
        {
            "uuid": uuid,
            "name": f"system-{number}",
            "power_state": "On",
            "external_notifier": False,
            "nics": [],
        }
        for number, uuid in enumerate(UUIDS, 1)
    ]
    config.write_text(
        f"SUSHY_EMULATOR_STATE_DIR = {str(state)!r}\nSUSHY_EMULATOR_AUTH_FILE = {str(users)!r}\n"
        f"SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}\n"
    )
    sys.argv = ["sushy-emulator", "--config", str(config), "--fake", "-i", "127.0.0.1", "-p", port]
    sys.argv += ["--ssl-certificate", certificate, "--ssl-key", key]
    main.main()


if __name__ == "__main__":
    serve(pathlib.Path(sys.argv[1]), *sys.argv[2:])
