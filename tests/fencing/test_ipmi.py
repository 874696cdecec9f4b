# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Debian's fence_ipmilan and ipmitool against OpenIPMI's BMC: each answer, one sentence."""

import socket
import uuid

import pytest

from hacore.fencing.identity import Identity
from hacore.fencing.proving import Prover
from hacore.states import PowerVerdict
from tests.fencing import IPMI_PASSWORD, test_redfish
from tests.fencing.conftest import SETTINGS, Bmc, Operator
from tests.fencing.ipmi_emulator import UUID
from tests.fencing.test_redfish import DENIED, MISCONFIGURED, UNREACHABLE, fails, skip_identity
from tests.servers import free_port


def options(bmc: Bmc, **changes: str) -> dict[str, str]:
    return {
        "agent": "fence_ipmilan",
        "ip": "127.0.0.1",
        "ipport": str(bmc.port),
        "username": "oper",
        "password": IPMI_PASSWORD,
        "privlvl": "operator",
        "lanplus": "1",
        "cipher": "3",
        **changes,
    }


def test_an_operator_of_ipmi_is_enough(ipmi: Bmc, operator: Operator) -> None:
    ipmi.takes(1)
    outcome = operator.proves(options(ipmi, identity=UUID.upper()))
    assert outcome.sentences == ()
    (proof,) = outcome.proof
    assert not ipmi.is_on()
    assert proof.identity == Identity(UUID.upper(), verified=True)
    first, second = proof.reads
    assert second.moment - first.moment >= SETTINGS.confirm_delay_s


def test_a_host_that_was_off_gets_no_order(ipmi: Bmc, operator: Operator) -> None:
    ipmi.switch(on=False)
    (proof,) = operator.proves(options(ipmi)).proof
    assert operator.ordered == []
    assert len(proof.reads) == 3


def test_an_identity_is_learned(ipmi: Bmc, operator: Operator) -> None:
    """The BMC shows the bytes in SMBIOS's order; the same box over Redfish shows another one."""
    answer, shown = operator.status(options(ipmi))
    assert answer.verdict == PowerVerdict.ON
    assert shown.value == str(uuid.UUID(bytes_le=uuid.UUID(UUID).bytes))
    assert not shown.verified


@pytest.mark.parametrize("by", ["identity", "agent"])
@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"password": "wrong"}, PowerVerdict.DENIED, DENIED.replace("admin", "oper")),
        ({"username": "nobody"}, PowerVerdict.DENIED, DENIED.replace("admin", "nobody")),
        ({"cipher": "17"}, PowerVerdict.MISCONFIGURED, MISCONFIGURED),
    ],
    ids=["password", "user", "cipher"],
)
def test_wrong(
    ipmi: Bmc,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
    changes: dict[str, str],
    verdict: PowerVerdict,
    words: str,
) -> None:
    if by == "agent":
        skip_identity(monkeypatch)
    fails(operator, verdict, words, options(ipmi, **changes))
    assert operator.ordered == []


def test_a_user_without_the_right(ipmi: Bmc, operator: Operator) -> None:
    viewer = options(ipmi, username="viewer", privlvl="user")
    fails(operator, PowerVerdict.DENIED, DENIED.replace("admin", "viewer"), viewer)
    assert ipmi.is_on()


def test_an_order_that_is_accepted_and_ignored(ipmi: Bmc, operator: Operator) -> None:
    ipmi.behaves("ignore")
    still_on = "it took the order and the host is still on; switch it off by hand"
    fails(operator, PowerVerdict.ON, still_on, options(ipmi))


def test_switched_on_again(ipmi: Bmc, operator: Operator) -> None:
    operator.then = lambda: ipmi.switch(on=True)
    again = "it was off and is on again; find out who switches it on"
    fails(operator, PowerVerdict.ON, again, options(ipmi))


def test_nothing_listens(ipmi: Bmc, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_identity(monkeypatch)
    dead = options(ipmi, ipport=str(free_port()))
    fails(operator, PowerVerdict.UNREACHABLE, UNREACHABLE, dead)


def test_a_device_that_never_answers(ipmi: Bmc, operator: Operator) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        dead = options(ipmi, ipport=str(mute.getsockname()[1]))
        fails(operator, PowerVerdict.UNREACHABLE, f"({UNREACHABLE}|{test_redfish.KILLED})", dead)


def test_the_wrong_box(ipmi: Bmc, operator: Operator) -> None:
    outcome = operator.proves(options(ipmi, identity="another-serial"))
    (answer,) = outcome.answers
    assert answer.verdict == PowerVerdict.WRONG_BOX
    assert operator.ordered == []
    assert ipmi.is_on()


def test_a_dead_device_and_the_next_level(redfish: Bmc, ipmi: Bmc, operator: Operator) -> None:
    dead = test_redfish.options(redfish, ipport=str(free_port()))
    outcome = operator.proves(dead, options(ipmi))
    (proof,) = outcome.proof
    assert proof.device.level == 2
    assert operator.ordered == ["bmc2"]
    (sentence,) = outcome.sentences
    assert sentence.startswith("level 1: compute-1, device bmc1 (fence_redfish at 127.0.0.1): ")


def test_two_devices_of_which_one_is_dead(redfish: Bmc, ipmi: Bmc, operator: Operator) -> None:
    """Half a level is not ordered: it would prove nothing."""
    both = operator.levels(test_redfish.options(redfish, ipport=str(free_port())), options(ipmi))
    level = tuple(device for level in both for device in level)
    outcome = Prover(SETTINGS, operator._programs).prove((level,), operator, {}, {})
    assert outcome.proof == ()
    assert operator.ordered == []
    assert ipmi.is_on()
