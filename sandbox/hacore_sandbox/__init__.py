# Licensed under the Apache License, Version 2.0; see LICENSE.
"""A simulated Keystone v3 and Nova over real HTTP.

It answers python-novaclient, keystoneauth and keystonemiddleware, and behaves as
Nova does while hosts die: for the demo, the tests and the benchmarks.  Nothing
here imports hacore beyond `hacore.clock`.

    settings.py     every duration and size, and the presets
    model.py        hosts, servers, migrations, aggregates; Nova's names of their states
    timeline.py     pending events and queues, on a clock passed in
    faults.py       injected faults
    state.py        the records and their indexes
    lifecycle.py    the operations on one server: build, stop, start, lock, delete, crash
    evacuation.py   an evacuation from the API call to the new host
    bmc.py          the BMC of each host: power, identity, and how it fails
    cloud.py        `Cloud`: all of the above; kills and revives hosts
    wire.py         requests and answers, without sockets
    identity.py     accounts, tokens, the catalogue
    views.py        a resource as JSON, by microversion
    servers.py      the Compute API's calls on servers
    neighbours.py   the little of Neutron and Placement that hacore reads
    hosts.py        its calls on services, hypervisors, migrations, aggregates
    control.py      /control: kill a host, inject a fault, count the requests
    rest.py         `Rest`: routes, versions, policy, delays; no sockets
    server.py       the HTTP server
    fence_agent.py  the command `fence_hacore_sandbox`: a fence agent for the BMCs
    cli.py          the command `hacore-sandbox`
    demo/           the demo: runs hacore-sandbox and hacore-standalone as processes

`Cloud` and `Rest` start no threads and never sleep: under a simulated clock they
give the same answers every time.
"""
