# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-status upgrade check: whether this host is ready for the installed version of hacore.

Run it after a new version is installed and before a daemon is restarted.
Exit status: 0 success, 1 warnings, 2 failures, 255 the checks could not run.
"""

import sys
from collections.abc import Sequence

from hacore import concurrency


def main(argv: Sequence[str] | None = None) -> None:
    """Run the checks."""
    argv = list(sys.argv[1:] if argv is None else argv)
    concurrency.select(argv)
    from oslo_config import cfg
    from oslo_upgradecheck import upgradecheck

    from hacore import conf as hacore_conf
    from hacore.cmd import launch
    from hacore.cmd.upgrade import Checks

    conf = cfg.CONF
    hacore_conf.register(conf)
    with launch.one_sentence("hacore-status", status=255), launch.quiet():
        sys.exit(int(upgradecheck.main(conf, "hacore", Checks(conf), argv)))
