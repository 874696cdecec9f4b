# Licensed under the Apache License, Version 2.0; see LICENSE.
"""An IPMI BMC: OpenIPMI's ipmi_sim, with a host that is a folder of files.

    python -m tests.fencing.ipmi_emulator FOLDER PORT

Loopback only; lanplus, cipher 3.  Users admin, oper and viewer, with the rights of these names;
their password is IPMI_PASSWORD of tests.fencing.  In FOLDER: power (1 or 0) is the host, behave
says what an order does (normal, ignore), delay after how many seconds.
"""

import os
import pathlib
import stat
import sys

from tests.fencing import IPMI_PASSWORD

#: As the host's firmware writes it, and in the order of bytes of SMBIOS.
UUID = "4c4c4544-0051-4810-8050-b1c04f4d0003"
_GUID = "44454c4c510010488050b1c04f4d0003"

#: What ipmi_sim runs to read or to switch the host.
_CHASSIS = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
op=$3
shift 3
now=$(date +%s%N)
if [ "$op" = get ]; then
  for name; do
    case $name in
    power)
      if read -r at value 2>/dev/null <pending && [ "$now" -ge "$at" ]; then
        echo "$value" >power
        rm pending
      fi
      echo "power:$(cat power)" ;;
    boot) echo boot:default ;;
    esac
  done
else
  while [ $# -gt 1 ]; do
    if [ "$1" = power ] && [ "$(cat behave)" = normal ]; then
      echo "$((now + $(cat delay) * 1000000000)) $2" >pending
    fi
    shift 2
  done
fi
"""

_LAN = """name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
{auths}
    guid {guid}
  endlan
  chassis_control "{chassis} chassis x"
  user 2 true "admin" "{password}" admin 10 none md2 md5 straight
  user 3 true "oper" "{password}" operator 10 none md2 md5 straight
  user 4 true "viewer" "{password}" user 10 none md2 md5 straight
"""

_BMC = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


def serve(folder: pathlib.Path, port: str) -> None:
    """Become the BMC."""
    (folder / "state").mkdir()
    chassis = folder / "chassis"
    chassis.write_text(_CHASSIS)
    chassis.chmod(stat.S_IRWXU)
    auths = "\n".join(
        f"    allowed_auths_{level} none md2 md5 straight"
        for level in ("callback", "user", "operator", "admin")
    )
    lan = _LAN.format(port=port, auths=auths, guid=_GUID, password=IPMI_PASSWORD, chassis=chassis)
    (folder / "lan.conf").write_text(lan)
    (folder / "sim.emu").write_text(_BMC)
    files = ("-c", str(folder / "lan.conf"), "-f", str(folder / "sim.emu"))
    os.execvp("ipmi_sim", ["ipmi_sim", "-n", *files, "-s", str(folder / "state")])


if __name__ == "__main__":
    serve(pathlib.Path(sys.argv[1]), sys.argv[2])
