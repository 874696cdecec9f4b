# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[mass_failure]: from how many failed hosts on a recovery is held; see doc/safety.md."""

from oslo_config import cfg

GROUP = "mass_failure"

OPTIONS = [
    cfg.IntOpt(
        "max_share",
        default=50,
        min=0,
        max=100,
        help="Percent of the registered hosts of a segment, or of an availability zone: host "
        "recoveries are held (rule majority) while more of them are down, silent or reported as "
        "failed. 0: no limit, as in Masakari.",
    ),
    cfg.IntOpt(
        "min_hosts",
        default=3,
        min=1,
        help="Number of such hosts below which max_share holds nothing: in a segment of two hosts "
        "one failed host is half of it.",
    ),
    cfg.IntOpt(
        "burst_hosts",
        default=10,
        min=0,
        help="Number of host recoveries that may begin within 300 seconds, in the whole cloud; the "
        "next ones are held (rule burst) and go on 120 seconds later if their hosts are still "
        "silent. 0: no limit, as in Masakari.",
    ),
    cfg.IntOpt(
        "burst_share",
        default=5,
        min=0,
        max=100,
        help="Percent of all registered hosts that raises burst_hosts in a large cloud: the larger "
        "of the two numbers counts.",
    ),
]
