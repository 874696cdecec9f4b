# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-engine: claims notifications and runs their recoveries."""

import sys
from collections.abc import Sequence

from hacore import concurrency


def main(argv: Sequence[str] | None = None) -> None:
    """Check everything, then run until SIGTERM."""
    argv = sys.argv[1:] if argv is None else argv
    concurrency.select(argv)
    from hacore.clock import SystemClock
    from hacore.cmd import launch
    from hacore.engine.flows import Flows
    from hacore.engine.service import Engine
    from hacore.monitoring import Monitoring

    notify = launch.take_notify_socket()
    with launch.one_sentence("hacore-engine"):
        conf = launch.configure("hacore-engine", argv)
        Flows(conf)
        launch.check_bus(conf)
        launch.check_database(conf)
        launch.check_nova(conf, must_answer=True)
        monitoring = Monitoring(conf, "engine_port")
    launch.run(conf, [monitoring, Engine(conf, SystemClock(), notify)])
