# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Fencing with real parts: Debian's fence agents, a Redfish service and an IPMI BMC."""

#: Of the users of the Redfish service; no process of this machine shows it.
PASSWORD = "bmc-s3cret-7"
#: Of those of the IPMI BMC: ipmitool shows it for a moment.
IPMI_PASSWORD = "ipmi-s3cret-7"
