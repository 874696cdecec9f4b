# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``hacore.cmd.wsgi:application`` for uwsgi, gunicorn and others.

The configuration is looked for where hacore-api looks; HACORE_CONFIG_FILES, a
list with ``;`` between the names, goes before that.  The server must load the
application after it has forked (uwsgi --lazy-apps; gunicorn does by itself).
"""

import os
from typing import Any

from hacore import concurrency


def _application() -> Any:
    names = filter(None, os.environ.get("HACORE_CONFIG_FILES", "").split(";"))
    argv = [f"--config-file={name}" for name in names]
    concurrency.select(argv)
    from hacore import events
    from hacore.api.app import make_app
    from hacore.api.service import NOVA_PATIENCE_S
    from hacore.cmd import launch
    from hacore.db.engine import Database
    from hacore.nova import Nova
    from hacore.rpc import Waker

    with launch.one_sentence("hacore-api"):
        conf = launch.configure("hacore-api", argv)
        launch.check_application(conf)
        launch.check_bus(conf)
        launch.check_database(conf)
        launch.check_nova(conf, must_answer=False)
        return make_app(
            conf,
            Database(conf.database),
            Nova(conf, retry_timeout_s=NOVA_PATIENCE_S),
            Waker(conf).wake,
            events.connect(conf, "hacore-api"),
        )


application = _application()
