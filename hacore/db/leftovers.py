# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What must be cleaned up after an abandoned recovery, in words and as a command to paste."""

import dataclasses
import shlex

from hacore.db.interventions import Kind, Leftover

_HOST_UPDATE = "openstack segment host update {segment_uuid} {host}"
#: Sentence and command of each kind; the names are fields of Leftover.
_TEXTS = {
    Kind.EVACUATION: (
        "Instance {instance_uuid} ({instance_name}) may be under evacuation.",
        "openstack server migration list --server {instance_uuid}",
    ),
    Kind.LOCK: (
        "Instance {instance_uuid} ({instance_name}) may be locked by this recovery.",
        "openstack server unlock {instance_uuid}",
    ),
    Kind.SERVICE_DISABLED: (
        "nova-compute on {host} was disabled.",
        "openstack compute service set --enable {host} nova-compute",
    ),
    Kind.MAINTENANCE: (
        "Host {host} is on maintenance: notifications for it are rejected.",
        f"{_HOST_UPDATE} --on_maintenance False",
    ),
    Kind.WAS_RESERVED: ("Host {host} was a reserved host.", f"{_HOST_UPDATE} --reserved True"),
    Kind.RESERVED_ENABLED: (
        "nova-compute on reserved host {host} was enabled for this recovery; leave it so if "
        "instances were evacuated to it.",
        "openstack compute service set --disable --disable-reason {disabled_reason} {host} "
        "nova-compute",
    ),
    Kind.RESERVED_JOINED: (
        "Reserved host {host} was added to aggregate {aggregate} for this recovery; leave it so "
        "if instances were evacuated to it.",
        "openstack aggregate remove host {aggregate} {host}",
    ),
    Kind.RESERVED_TAKEN: (
        "Host {host} was a reserved host and was taken for this recovery.",
        f"{_HOST_UPDATE} --reserved True",
    ),
}


def described(left: Leftover) -> tuple[str, str]:
    """Return what must be cleaned up as a sentence, and the command for it."""
    sentence, command = _TEXTS[left.kind]
    facts = dataclasses.asdict(left)
    quoted = facts | {"disabled_reason": shlex.quote(left.disabled_reason)}
    return sentence.format(**facts), command.format(**quoted)
