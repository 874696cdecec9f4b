# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Virt driver of ministack: nova's own FakeDriver, with a memory and faults.

`ministack up` copies this file into the venv as nova/virt/ministack.py, since
nova loads drivers from that package only.  Differences to the FakeDriver:

* one persistent node uuid per state_path, so a nova-compute can be restarted
  (FakeDriverWithoutFakeNodes of nova gives that);
* the list of "running" guests survives a restart of nova-compute, in
  <state_path>/guests.json, as it does with a real hypervisor;
* the guest leaves the source host after a live migration;
* faults on demand, read from <state_path>/faults.json at each call:
    {"spawn_delay": 2.0,            seconds that a spawn (evacuation) takes
     "spawn_fail": true | ["uuid"], spawn raises
     "power_off_delay": s, "power_off_fail": ..., "power_on_delay": s,
     "power_on_fail": ..., "live_migration_delay": s}
"""

import json
import os
import time

import nova.conf
from nova import exception
from nova.virt import fake

CONF = nova.conf.CONF


class MiniDriver(fake.FakeDriverWithoutFakeNodes):
    def _file(self, name):
        return os.path.join(CONF.state_path, name)

    def init_host(self, host):
        super().init_host(host)
        try:
            with open(self._file("guests.json")) as f:
                for uuid, g in json.load(f).items():
                    self.instances[uuid] = fake.FakeInstance(g["name"], g["state"], uuid)
        except (OSError, ValueError):
            pass

    def _save(self):
        data = {u: {"name": i.name, "state": i.state} for u, i in list(self.instances.items())}
        fn = self._file("guests.json")
        tmp = f"{fn}.{time.monotonic_ns()}.tmp"
        with open(tmp, "w") as f:
            json.dump(data, f)
        os.replace(tmp, fn)

    def _fault(self, what, instance):
        try:
            with open(self._file("faults.json")) as f:
                faults = json.load(f)
        except (OSError, ValueError):
            return
        delay = faults.get(what + "_delay")
        if delay:
            time.sleep(float(delay))
        fail = faults.get(what + "_fail")
        if fail is True or (isinstance(fail, list) and instance.uuid in fail):
            raise exception.NovaException("ministack: injected failure of " + what)

    def spawn(self, context, instance, *args, **kwargs):
        self._fault("spawn", instance)
        super().spawn(context, instance, *args, **kwargs)
        self._save()

    def destroy(self, context, instance, *args, **kwargs):
        super().destroy(context, instance, *args, **kwargs)
        self._save()

    def power_off(self, instance, *args, **kwargs):
        self._fault("power_off", instance)
        super().power_off(instance, *args, **kwargs)
        self._save()

    def power_on(self, context, instance, *args, **kwargs):
        self._fault("power_on", instance)
        super().power_on(context, instance, *args, **kwargs)
        self._save()

    def finish_revert_migration(self, *args, **kwargs):
        super().finish_revert_migration(*args, **kwargs)
        self._save()

    def live_migration(self, context, instance, *args, **kwargs):
        self._fault("live_migration", instance)
        super().live_migration(context, instance, *args, **kwargs)

    def post_live_migration(self, context, instance, block_device_info, migrate_data=None):
        # on the source host: the guest has left
        self.destroy(context, instance, network_info=None, block_device_info=block_device_info)
