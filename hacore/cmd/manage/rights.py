# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Whether Nova's policy lets hacore make each of its calls, checked without changing anything.

A call names what does not exist: 404 means that it is allowed, 403 that it is not.  Nova
looks a server up before it checks the policy for an action on it, so that the actions on
servers can only be checked on an existing one; `of_actions_on` uses one that the operator
names.
"""

import dataclasses
import threading
import uuid
from collections.abc import Callable, Iterator

from hacore.clock import Clock
from hacore.cmd.manage.findings import Finding, Result, ok, unchecked, wrong
from hacore.errors import NovaBadRequest, NovaConflict, NovaError, NovaForbidden, NovaNotFound
from hacore.nova import Aggregate, Nova, Service
from hacore.states import VmState

#: A host that exists in no cloud.
_NO_HOST = "no-such-host.hacore.invalid"
_ACTIONS = "nova: act on servers"
_UNLOCK, _STOP = "unlock a server", "stop a server"
#: How an allowed call may fail: it names what does not exist, or what cannot be done now.
_ALLOWED = (NovaNotFound, NovaConflict, NovaBadRequest)


@dataclasses.dataclass(frozen=True, slots=True)
class _Right:
    """A call, and the rule of Nova's policy that it needs."""

    what: str
    rule: str
    call: Callable[[], object]


def of_lists(nova: Nova, *, with_aggregates: bool) -> Iterator[Finding]:
    """Check all calls except the actions on servers.

    :param with_aggregates: also those that only ``add_reserved_host_to_aggregate`` needs.
    """
    unknown = str(uuid.uuid4())
    service = Service(unknown, _NO_HOST, up=False, enabled=True, forced_down=False,
                      disabled_reason=None)  # fmt: skip
    rights = [
        _Right("read compute services", "os-services:list", lambda: nova.service(_NO_HOST)),
        _Right(
            "disable a compute service",
            "os-services:update",
            lambda: nova.disable_service(service, "doctor"),
        ),
        _Right(
            "enable a compute service",
            "os-services:update",
            lambda: nova.enable_service(service),
        ),
        _Right(
            "force a compute service down",
            "os-services:update",
            lambda: nova.force_down(service),
        ),
        _Right("read a server", "servers:show", lambda: nova.instance(unknown)),
        _Right("list evacuations", "os-migrations:index", lambda: nova.evacuations_from(_NO_HOST)),
    ]
    if with_aggregates:
        none = Aggregate(0, "none", ())
        rights += [
            _Right("list aggregates", "os-aggregates:index", nova.aggregates),
            _Right(
                "add a host to an aggregate",
                "os-aggregates:add_host",
                lambda: nova.add_to_aggregate(none, _NO_HOST),
            ),
        ]
    for right in rights:
        yield _asked(right)
    yield _of_list("list servers of a host", "detail", lambda: len(nova.instances_on(_NO_HOST)))
    yield _of_list("list uuids of a host", "index", lambda: len(nova.uuids_on(_NO_HOST)))


def _of_list(what: str, view: str, count: Callable[[], int]) -> Finding:
    """Check a list of a host's servers, which must be filtered by host."""
    found: list[int] = []
    finding = _asked(_Right(what, f"servers:{view}:get_all_tenants", lambda: found.append(count())))
    if found and found[0]:
        return wrong(
            finding.check,
            f"Nova lists {found[0]} servers of a host that does not exist: it ignores the filter "
            "by host; allow hacore's user os_compute_api:servers:allow_all_filters in Nova's "
            "policy.",
        )
    return finding


def of_actions(nova: Nova) -> Iterator[Finding]:
    """Check the actions on servers as far as possible without an existing server."""
    findings = [_asked(right) for right in _actions(nova, str(uuid.uuid4()))]
    forbidden = [finding for finding in findings if finding.result == Result.WRONG]
    yield from forbidden
    if not forbidden:
        yield unchecked(
            _ACTIONS,
            "Lock, unlock, evacuate, reset state, stop and start can only be checked on an "
            "existing server; name one that may be restarted: --instance UUID.",
        )


def of_actions_on(
    nova: Nova, clock: Clock, instance_uuid: str, patience_s: float
) -> Iterator[Finding]:
    """Check the actions on a server that the operator names; it is restarted.

    :param patience_s: seconds that the server may take to stop.
    """
    unfit = _unfit(nova, instance_uuid)
    if unfit:
        yield wrong(_ACTIONS, unfit)
        return
    for right in _actions(nova, instance_uuid):
        finding = _asked(right)
        yield finding
        if right.what == _UNLOCK and finding.result == Result.WRONG:
            yield wrong(
                _ACTIONS,
                f"Server {instance_uuid} stays locked; run 'openstack server unlock "
                f"{instance_uuid}'.",
            )
        if right.what == _STOP and not _stops(nova, clock, instance_uuid, patience_s):
            yield wrong(
                _ACTIONS,
                f"Server {instance_uuid} has not stopped within {patience_s:g} s "
                "(wait_period_after_power_off); see the log of nova-compute on its host.",
            )


def _unfit(nova: Nova, instance_uuid: str) -> str | None:
    """Return why the server cannot be used for the checks; None where it can."""
    try:
        instance = nova.instance(instance_uuid)
    except NovaError as exc:
        return f"{exc}; --instance must be the UUID of a server."
    if instance.host is None:
        return (
            "Nova does not show the host of a server (OS-EXT-SRV-ATTR:host); allow hacore's "
            "user os_compute_api:os-extended-server-attributes in Nova's policy."
        )
    if instance.vm_state != VmState.ACTIVE or instance.task_state or instance.locked:
        return (
            f"Server {instance_uuid} is {instance.vm_state}, task {instance.task_state}, "
            f"{'locked' if instance.locked else 'not locked'}; name one that is active, without "
            "a task and not locked."
        )
    return None


def _actions(nova: Nova, instance_uuid: str) -> list[_Right]:
    """Return the actions in an order that leaves the server as it was."""
    return [
        _Right("lock a server", "os-lock-server:lock", lambda: nova.lock(instance_uuid, "doctor")),
        _Right(_UNLOCK, "os-lock-server:unlock", lambda: nova.unlock(instance_uuid)),
        # to a host that does not exist: Nova refuses that after the policy check
        _Right("evacuate a server", "os-evacuate", lambda: nova.evacuate(instance_uuid, _NO_HOST)),
        _Right(
            "reset the state of a server",
            "os-admin-actions:reset_state",
            lambda: nova.reset_state(instance_uuid, VmState.ACTIVE),
        ),
        _Right(_STOP, "servers:stop", lambda: nova.stop(instance_uuid)),
        _Right("start a server", "servers:start", lambda: nova.start(instance_uuid)),
    ]


def _stops(nova: Nova, clock: Clock, instance_uuid: str, patience_s: float) -> bool:
    """Wait until the server has no task, which a start needs; False when that takes too long."""
    deadline = clock.monotonic() + patience_s
    while nova.instance(instance_uuid).task_state is not None:
        if clock.monotonic() > deadline:
            return False
        clock.wait(threading.Event(), 1.0)
    return True


def _asked(right: _Right) -> Finding:
    check = f"nova: {right.what}"
    try:
        right.call()
    except _ALLOWED:
        return ok(check)
    except NovaForbidden as exc:
        return wrong(
            check,
            f"{exc}; allow hacore's user os_compute_api:{right.rule} in Nova's policy, or give it "
            "the admin role.",
        )
    except NovaError as exc:
        return wrong(check, f"{exc}; see the log of nova-api.")
    return ok(check)
