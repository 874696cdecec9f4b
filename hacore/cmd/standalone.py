# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-standalone: API and engine in one process, on SQLite and without a broker."""

import pathlib
import sys
from collections.abc import Callable, Collection, Sequence

from hacore import concurrency


def main(argv: Sequence[str] | None = None, agent_folders: Collection[str] | None = None) -> None:
    """Check everything, create missing tables, then run until SIGTERM.

    :param agent_folders: where fence agents may be; None: where packages put them.  No option: who
        may write there has any host switched off, and only a demo has its agent elsewhere.
    """
    argv = sys.argv[1:] if argv is None else argv
    concurrency.select(argv)
    from hacore.api.service import Api
    from hacore.clock import SystemClock
    from hacore.cmd import launch
    from hacore.engine.flows import Flows
    from hacore.engine.service import Engine
    from hacore.errors import ConfigError
    from hacore.fencing import installed
    from hacore.monitoring import Monitoring

    notify = launch.take_notify_socket()
    clock = SystemClock()
    with launch.one_sentence("hacore-standalone"):
        conf = launch.configure("hacore-standalone", argv, transport_url="fake://")
        if not conf.database.connection:
            folder = pathlib.Path(conf.state_path)
            if not folder.is_dir():
                raise ConfigError(
                    f"Folder {folder} for the database not found; create it, or set [DEFAULT] "
                    "state_path."
                )
            conf.set_default("connection", f"sqlite:///{folder}/hacore.sqlite", group="database")
        launch.check_api(conf)
        launch.check_bus(conf)
        Flows(conf)
        launch.check_database(conf, create=True)
        launch.check_nova(conf, must_answer=True)
        monitoring = Monitoring(conf, "api_port")
    # the API starts last: it sends READY
    folders = installed.FOLDERS if agent_folders is None else agent_folders
    engine = Engine(conf, clock, _except_ready(notify), folders)
    launch.run(conf, [monitoring, engine, Api(conf, clock, notify)])


def _except_ready(notify: Callable[[str], None]) -> Callable[[str], None]:
    def send(line: str) -> None:
        if line != "READY=1":
            notify(line)

    return send
