# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A simulated Keystone v3 and Nova over real HTTP.

What python-novaclient, keystoneauth and keystonemiddleware send and get, and
how Nova behaves while hosts die: for the demo, the tests and the benchmarks.
Nothing here imports hacore beyond `hacore.clock`.

    settings.py     every duration and size, and the presets
    model.py        hosts, servers, migrations, aggregates; Nova's words for their states
    timeline.py     pending events and queues, on a clock that is given
    faults.py       what is to go wrong
    state.py        the records and their indexes
    lifecycle.py    what happens to one server: build, stop, start, lock, delete, crash
    evacuation.py   an evacuation from the API call to the new host
    cloud.py        `Cloud`: all of the above, and hosts that die and return
    wire.py         a call and its answer
    identity.py     accounts, tokens, the catalogue
    views.py        a resource as JSON, by microversion
    servers.py      the calls of the Compute API about servers
    hosts.py        those about services, hypervisors, migrations, aggregates
    control.py      /control: kill a host, inject a fault, count the requests
    rest.py         `Rest`: routes, versions, policy, delays; no sockets
    server.py       the HTTP server
    demo/           the demo, which uses all of it and hacore-standalone from outside

`Cloud` and `Rest` start no thread and never sleep: under a virtual clock they
give the same answers every time.
"""
