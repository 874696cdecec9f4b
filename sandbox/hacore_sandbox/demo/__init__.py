# Licensed under the Apache License, Version 2.0; see LICENSE.
"""`hacore-sandbox demo`: something dies, and hacore recovers from it, for all to see.

Real processes, real HTTP: nothing here imports hacore beyond `hacore.clock`.

    story.py       `run`: the whole demo, and its exit status
    scenarios.py   what dies, and how it is reported
    judge.py       what is not as it should be in the end; pure
    facts.py       what was read: instances, hosts, steps, moves; pure
    peers.py       the two services, asked over HTTP
    stage.py       their processes, ports, configuration and folder
    view.py        what a person sees: `Screen` on a terminal, `Lines` in a pipe
"""
