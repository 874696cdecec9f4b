# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A host that was switched off through its devices is brought back into service."""

import pytest
import sqlalchemy as sa

from hacore.db import operations, orders, proofs
from hacore.db.models import FencingOrder
from hacore.states import OperationStatus, OperationType, PowerVerdict
from tests.devices import Devices
from tests.unit.engine.test_host_return import ask, died, ends, story
from tests.world import World

FINISHED, FAILED = OperationStatus.FINISHED, OperationStatus.FAILED
REASON = "The rack has no power strip any more."


@pytest.fixture
def fenced(world: World) -> World:
    """Compute1 has died, was switched off and recovered from, and has power again."""
    world.always_looks = True
    world.devices = Devices(world.conf, world.cloud, "compute*")
    died(world)
    assert len(world.cloud.bmcs.get("compute1").orders) == 1
    world.cloud.switch("compute1", True)
    return world


def ordered(world: World, device: str = "bmc") -> None:
    """An order of before of which nobody knows what became of it."""
    with world.db.write() as session:
        session.add(
            FencingOrder(
                host_uuid=world.registered().uuid,
                notification_uuid="of-before",
                device=device,
                created_at=world.db.now(session),
            )
        )


def outcome(world: World) -> str | None:
    """Of the newest order."""
    with world.db.read() as session:
        newest = sa.select(FencingOrder.outcome).order_by(FencingOrder.id.desc()).limit(1)
        return session.scalar(newest)


def is_in_service(world: World) -> bool:
    service = world.service()
    return not (service.disabled or service.forced_down or world.registered().on_maintenance)


def test_a_device_that_says_on_settles_its_order(fenced: World) -> None:
    ordered(fenced)
    assert ends(fenced, ask(fenced)).status == FINISHED
    assert outcome(fenced) == PowerVerdict.ON
    assert is_in_service(fenced)


def test_a_device_that_says_off_ends_it(fenced: World) -> None:
    ordered(fenced)
    fenced.cloud.switch("compute1", False)
    ended = ends(fenced, ask(fenced, force=True))
    assert ended.status == FAILED
    text = ended.message or ""
    assert text.startswith("compute1 is not brought back: hacore has switched compute1 off (")
    assert text.endswith("Switch compute1 on, then return it again.")
    assert outcome(fenced) is None  # outstanding: whoever asks next hears the same
    assert ends(fenced, ask(fenced)).message == text
    assert not is_in_service(fenced)
    fenced.cloud.switch("compute1", True)
    assert ends(fenced, ask(fenced)).status == FINISHED


#: A device that does not answer, and one that the file does not name any more.
UNREADABLE = pytest.mark.parametrize(
    ("device", "said"), [("bmc", "it did not answer"), ("pdu", "is not in the file of devices")]
)


@UNREADABLE
def test_a_device_that_cannot_be_read_ends_it(fenced: World, device: str, said: str) -> None:
    ordered(fenced, device)
    fenced.cloud.bmcs.change("compute1", {"mode": "dead"})
    ended = ends(fenced, ask(fenced))
    assert ended.status == FAILED
    assert said in (ended.message or "")
    assert f"Once device {device} can be read, return compute1 again" in (ended.message or "")
    assert [each.device for each in orders.outstanding(fenced.db, ended.host_uuid)] == [device]
    assert not is_in_service(fenced)


@UNREADABLE
def test_force_goes_on_without_it_and_says_who_and_why(
    fenced: World, device: str, said: str
) -> None:
    ordered(fenced, device)
    fenced.cloud.bmcs.change("compute1", {"mode": "dead"})
    row = operations.create(
        fenced.db,
        fenced.registered().uuid,
        OperationType.RETURN,
        "alice",
        REASON,
        {"force": True},
    )
    fenced.wake()
    assert ends(fenced, row.uuid).status == FINISHED
    assert outcome(fenced) == PowerVerdict.UNKNOWN
    by = f"alice does not wait for device {device} ({REASON.rstrip('.')}): "
    (line,) = (line for line in story(fenced, row.uuid) if line.startswith(by))
    assert said in line
    assert is_in_service(fenced)


def test_no_proof_of_before_stands_after_it(fenced: World) -> None:
    host = fenced.registered().uuid
    assert [each.void_at for each in proofs.of_host(fenced.db, host)] == [None]
    assert ends(fenced, ask(fenced)).status == FINISHED
    (proof,) = proofs.of_host(fenced.db, host)
    assert proof.void_reason == "compute1 was brought back."
