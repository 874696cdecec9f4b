# Licensed under the Apache License, Version 2.0; see LICENSE.
"""hacore-status upgrade check: whether the installed version of hacore can take over here.

To be run once a new version is installed and before anything is restarted.
Exit status: 0 all is well, 1 there are warnings, 2 failures, 255 it could not check.
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
