# Licensed under the Apache License, Version 2.0; see LICENSE.
"""`hacore-sandbox demo`: something fails, and hacore recovers from it on the screen.

Real processes, real HTTP: nothing here imports hacore beyond `hacore.clock`.

    runner.py        `run`: the whole demo, and its exit status
    stage.py         what all scenarios do: start, wait, follow a recovery
    scenarios.py     scenarios with one failure: what fails, and the notification about it
    mass_failure.py  the scenario in which hacore holds, and an operator decides
    fencing.py       the scenario in which hosts must be proved off
    checks.py        what is wrong at the end; pure
    records.py       instances, hosts, tasks, moves, as read; pure
    clients.py       the HTTP clients of the two services
    processes.py     their processes, ports, configuration and folder
    view.py          the output: `Screen` on a terminal, `Lines` in a pipe
"""
