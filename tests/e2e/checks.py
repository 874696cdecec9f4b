# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What must be true once a recovery has ended, by Nova and by hacore."""

from typing import Any

from tests.e2e.clients import Hacore
from tests.e2e.ministack import Ministack

#: The payload of a COMPUTE_HOST notification: the host is off.
DEAD = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}
#: power_state
RUNNING, SHUTDOWN = 1, 4

HOST_STEPS = (
    "DisableComputeServiceTask",
    "PrepareHAEnabledInstancesTask",
    "EvacuateInstancesTask",
)


def check_all_moved(
    real: Ministack,
    hacore: Hacore,
    notification: Any,
    instances: list[str],
    *hosts: str,
    attempts: int = 1,
) -> None:
    """Active elsewhere, unlocked, evacuated once; and hacore says the same of each."""
    assert notification["status"] == "finished", notification
    seen = real.see(*instances)
    assert set(seen) == set(instances)
    for instance in seen.values():
        assert (instance.vm_state, instance.power_state) == ("active", RUNNING)
        assert instance.task_state is None
        assert instance.host not in hosts
        assert not instance.locked
    check_evacuated_once(real, instances, attempts)
    moves = hacore.moves(notification["notification_uuid"])
    assert sorted((move["instance_uuid"], move["status"], move["dest_host"]) for move in moves) == (
        sorted((uuid, "succeeded", instance.host) for uuid, instance in seen.items())
    )
    assert all(move["start_time"] <= move["end_time"] for move in moves)


def check_evacuated_once(real: Ministack, instances: list[str], attempts: int = 1) -> None:
    """One evacuation of each, and at most one that Nova failed in each attempt but the last."""
    assert real.evacuated_times(instances) == dict.fromkeys(instances, 1)
    records = real.evacuations()
    assert all(len(records[uuid]) <= attempts for uuid in instances), records


def check_steps(notification: Any, *names: str) -> None:
    """All of them, in this order, complete."""
    steps = notification["recovery_workflow_details"]
    assert [(step["name"], step["state"], step["progress"]) for step in steps] == [
        (name, "SUCCESS", 1.0) for name in names
    ]
    assert all(step["progress_details"] for step in steps)
