# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What must be cleaned up after an abandoned recovery, as an operator reads it."""

import pytest

from hacore.db.interventions import Kind, Leftover
from hacore.db.leftovers import described

UPDATE = "openstack segment host update s-1 compute1"


@pytest.mark.parametrize(
    ("kind", "sentence", "command"),
    [
        (
            Kind.EVACUATION,
            "Instance i-1 (vm-1) may be under evacuation.",
            "openstack server migration list --server i-1",
        ),
        (
            Kind.LOCK,
            "Instance i-1 (vm-1) may be locked by this recovery.",
            "openstack server unlock i-1",
        ),
        (
            Kind.SERVICE_DISABLED,
            "nova-compute on compute1 was disabled.",
            "openstack compute service set --enable compute1 nova-compute",
        ),
        (
            Kind.MAINTENANCE,
            "Host compute1 is on maintenance: notifications for it are rejected.",
            f"{UPDATE} --on_maintenance False",
        ),
        (Kind.WAS_RESERVED, "Host compute1 was a reserved host.", f"{UPDATE} --reserved True"),
        (
            Kind.RESERVED_TAKEN,
            "Host compute1 was a reserved host and was taken for this recovery.",
            f"{UPDATE} --reserved True",
        ),
    ],
)
def test_each_kind_has_its_sentence_and_command(kind: Kind, sentence: str, command: str) -> None:
    left = Leftover(kind, "compute1", "s-1", "i-1", "vm-1")
    assert described(left) == (sentence, command)


def test_a_reserved_host_is_to_be_as_it_was_before() -> None:
    enabled = Leftover(Kind.RESERVED_ENABLED, "compute1", "s-1", disabled_reason="a spare")
    assert described(enabled) == (
        "nova-compute on reserved host compute1 was enabled for this recovery; leave it so if "
        "instances were evacuated to it.",
        "openstack compute service set --disable --disable-reason 'a spare' compute1 nova-compute",
    )
    joined = Leftover(Kind.RESERVED_JOINED, "compute1", "s-1", aggregate=7)
    assert described(joined) == (
        "Reserved host compute1 was added to aggregate 7 for this recovery; leave it so if "
        "instances were evacuated to it.",
        "openstack aggregate remove host 7 compute1",
    )


def test_no_kind_is_without() -> None:
    for kind in Kind:
        assert all(described(Leftover(kind, "compute1", "s-1", "i-1", "vm-1")))
