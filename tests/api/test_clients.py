# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The clients made for Masakari: openstacksdk's proxy and the openstack command's plug-in."""

import contextlib
import datetime
import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any
from wsgiref.types import WSGIApplication

import openstack
import pytest
from openstack import exceptions
from openstack.instance_ha.v1._proxy import Proxy

from hacore.db.engine import Database
from hacore.db.models import Move

from .conftest import Keystone

GENERATED = "2026-01-01T00:00:00.000000"
STOPPED = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}


@pytest.fixture
def cloud(
    serve: Callable[[WSGIApplication], str], keystone_app: WSGIApplication, keystone: Keystone
) -> dict[str, str]:
    """OS_* of an administrator; the API is in the catalogue."""
    keystone.advertise(f"{serve(keystone_app)}/v1")
    return {
        "OS_AUTH_URL": keystone.url,
        "OS_USERNAME": "admin",
        "OS_PASSWORD": "admin",
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "OS_REGION_NAME": "RegionOne",
    }


@pytest.fixture
def sdk(cloud: dict[str, str]) -> Proxy:
    options = {key.removeprefix("OS_").lower(): value for key, value in cloud.items()}
    connection = openstack.connect(load_yaml_config=False, load_envvars=False, **options)
    proxy: Proxy = connection.instance_ha
    proxy.default_microversion = "1.3"
    return proxy


def move(db: Database, notification_uuid: str) -> str:
    """A VM move, as an engine would have made it."""
    now = datetime.datetime.now(datetime.UTC)
    with db.write() as session:
        made = Move(
            uuid=str(uuid.uuid4()),
            created_at=now,
            notification_uuid=notification_uuid,
            instance_uuid=str(uuid.uuid4()),
            instance_name="db1",
            source_host="compute1",
            dest_host="compute2",
            start_time=now,
            end_time=now,
            type="evacuation",
            status="succeeded",
            position=0,
            vm_state="active",
            power_state=1,
        )
        session.add(made)
    return made.uuid


def test_every_method_of_the_sdk(sdk: Proxy, db: Database) -> None:
    segment = sdk.create_segment(
        name="rack", recovery_method="auto", service_type="COMPUTE", is_enabled=True
    )
    assert [each.name for each in sdk.segments()] == ["rack"]
    assert sdk.get_segment(segment.uuid).is_enabled is True
    assert sdk.update_segment(segment.uuid, description="new").description == "new"
    assert [each.name for each in sdk.segments(recovery_method="reserved_host")] == []

    host = sdk.create_host(
        segment.uuid, name="compute1", type="COMPUTE", control_attributes="SSH", reserved=False
    )
    assert [each.name for each in sdk.hosts(segment.uuid, limit=1)] == ["compute1"]
    assert sdk.get_host(host.uuid, segment.uuid).failover_segment_id == segment.uuid
    assert sdk.update_host(host.uuid, segment.uuid, reserved=True).reserved is True

    notification = sdk.create_notification(
        type="COMPUTE_HOST", hostname="compute1", generated_time=GENERATED, payload=STOPPED
    )
    (listed,) = sdk.notifications(status="new", generated_since="2025-01-01T00:00:00")
    shown = sdk.get_notification(notification.notification_uuid)
    assert listed.notification_uuid == shown.notification_uuid
    assert shown.recovery_workflow_details == []
    assert sdk.wait_for_status(shown, "new", interval=0.1, wait=5).status == "new"
    vmove = move(db, notification.notification_uuid)
    assert [each.server_name for each in sdk.vmoves(notification.notification_uuid)] == ["db1"]
    assert sdk.get_vmove(vmove, notification.notification_uuid).status == "succeeded"

    with pytest.raises(exceptions.ConflictException):
        sdk.delete_segment(segment.uuid, ignore_missing=False)
    with pytest.raises(exceptions.NotFoundException):
        sdk.get_segment("nowhere")
    other = sdk.create_segment(name="other", recovery_method="auto", service_type="COMPUTE")
    spare = sdk.create_host(other.uuid, name="compute2", type="X", control_attributes="SSH")
    sdk.delete_host(spare.uuid, other.uuid, ignore_missing=False)
    sdk.wait_for_delete(spare, interval=0.1, wait=5)
    sdk.delete_segment(other.uuid, ignore_missing=False)
    sdk.wait_for_delete(other, interval=0.1, wait=5)
    assert [each.name for each in sdk.segments()] == ["rack"]


def test_the_sdk_walks_through_pages(sdk: Proxy) -> None:
    for number in range(7):
        sdk.create_segment(name=f"s{number}", recovery_method="auto", service_type="COMPUTE")

    names = [each.name for each in sdk.segments(limit=2, sort_key="name", sort_dir="asc")]

    assert names == [f"s{number}" for number in range(7)]


class Command:
    """The openstack command, with the plug-in of python-masakariclient."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**os.environ, **environment, "PYTHONWARNINGS": "ignore"}

    def __call__(self, *arguments: str, version: str = "1.3") -> Any:
        command = [sys.executable, "-m", "openstackclient.shell"]
        command += ["--os-ha-api-version", version, *arguments]
        if not arguments[1].endswith("delete") and "delete" not in arguments:
            command += ["-f", "json"]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        with contextlib.suppress(ValueError):
            return json.load(io.StringIO(done.stdout))
        return done.stdout


def test_every_command_of_the_plug_in(cloud: dict[str, str], db: Database) -> None:
    openstack_ = Command(cloud)
    segment = openstack_("segment", "create", "rack", "auto", "COMPUTE", "--description", "d")
    assert (segment["name"], segment["recovery_method"]) == ("rack", "auto")
    (listed,) = openstack_("segment", "list", "--filters", "recovery_method=auto")
    assert listed["uuid"] == segment["uuid"]
    assert openstack_("segment", "show", "rack")["description"] == "d"
    changed = openstack_("segment", "update", segment["uuid"], "--description", "new")
    assert changed["description"] == "new"

    host = openstack_("segment", "host", "create", "compute1", "COMPUTE", "SSH", segment["uuid"])
    assert host["name"] == "compute1"
    (listed,) = openstack_("segment", "host", "list", segment["uuid"])
    assert listed["uuid"] == host["uuid"]
    shown = openstack_("segment", "host", "show", segment["uuid"], "compute1")
    assert shown["control_attributes"] == "SSH"
    changed = openstack_(
        "segment", "host", "update", segment["uuid"], host["uuid"], "--reserved", "True"
    )
    assert changed["reserved"] is True
    openstack_("segment", "host", "delete", segment["uuid"], host["uuid"])
    openstack_("segment", "delete", segment["uuid"])
    assert openstack_("segment", "list") == []

    segment = openstack_("segment", "create", "other", "auto", "COMPUTE", version="1.0")
    openstack_("segment", "host", "create", "compute1", "COMPUTE", "SSH", segment["uuid"])
    made = openstack_(
        "notification", "create", "COMPUTE_HOST", "compute1", GENERATED, json.dumps(STOPPED)
    )
    identifier = made["notification_uuid"]
    (listed,) = openstack_("notification", "list", "--filters", "status=new")
    assert listed["notification_uuid"] == identifier
    assert openstack_("notification", "show", identifier)["status"] == "new"
    vmove = move(db, identifier)
    (listed,) = openstack_("notification", "vmove", "list", identifier)
    assert listed["uuid"] == vmove
    assert openstack_("notification", "vmove", "show", identifier, vmove)["status"] == "succeeded"
