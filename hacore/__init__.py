# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore keeps virtual machines alive on an OpenStack cloud.

The map, in the order of who may import whom (tests/unit/test_layers.py checks it):

========================  =====================================================
errors, states, clock     the exception tree; statuses; time as an argument
hostnames                 names that differ in case or domain only
processes                 which process this is, and which others are dead
metrics                   what is counted, and the endpoint for Prometheus
conf/                     one module per option group
fencing/                  devices that switch hosts off, and the proof that they did
db/                       models, sessions, migrations, one module per resource
nova/                     all access to Nova and Keystone
resources                 the fields of what the API serves, each declared once
events                    what the API and the engine do, on the message bus
rpc                       the wake-up between API and engine
heartbeat                 the heartbeat of a process of hacore
monitoring                the metrics endpoint as a part of each daemon
masakari/                 the way from Masakari: its configuration, its database
api/                      REST: routes.py -> handler -> db
engine/                   claims, flows, the evacuation executor
tasks/                    one class per task; the engine finds them by entry points
cmd/                      the commands: parse, check, launch
pacemaker_alert           Pacemaker's alert agent: one file, runs without the rest
concurrency               threads or eventlet; the first import of every command
========================  =====================================================

The simulated Keystone and Nova, and the demo, are sandbox/hacore_sandbox: a
distribution of its own, which the tests run on and hacore never imports.
"""
