# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[fencing]: how a failed host is proved to be off; see doc/fencing.md."""

from oslo_config import cfg

GROUP = "fencing"

OPTIONS = [
    cfg.StrOpt(
        "devices_file",
        default="",
        help="File that names the fencing devices of the hosts, such as /etc/hacore/fencing.ini; "
        "see doc/fencing.md. It holds passwords: if others may read it, hacore refuses to start. "
        "Empty: no host has a device.",
    ),
    cfg.StrOpt(
        "require_proof",
        default="configured",
        choices=[
            ("configured", "for hosts that have a device in devices_file"),
            ("always", "for every host; one without a device waits for a person"),
            ("never", "for no host, as in Masakari"),
        ],
        help="For which hosts a proof that the host is off is required before its instances are "
        "evacuated.",
    ),
    cfg.IntOpt(
        "deadline",
        default=40,
        min=5,
        help="Seconds after which a fence agent that has not answered is killed, with every "
        "process that it started.",
    ),
    cfg.FloatOpt(
        "confirm_delay",
        default=3,
        min=0,
        help="Seconds between the two reads that must both say off, after a device was ordered to "
        "switch the host off.",
    ),
    cfg.FloatOpt(
        "confirm_delay_already_off",
        default=30,
        min=0,
        help="Seconds that three reads must span, all of which say off, where the host was off "
        "without an order of hacore: a host that restarts is off for seconds.",
    ),
    cfg.FloatOpt(
        "least_silence",
        default=25,
        min=0,
        help="Seconds for which Nova must not have heard a host before it is switched off.",
    ),
    cfg.FloatOpt(
        "retry_interval",
        default=60,
        min=1,
        help="Seconds after which a host that could not be proved off is tried again.",
    ),
    cfg.IntOpt(
        "workers",
        default=16,
        min=1,
        help="Number of fencing devices that an engine talks to at once.",
    ),
    cfg.IntOpt(
        "probe_interval",
        default=3600,
        min=0,
        help="Seconds between two probes of each fencing device: whether it answers, what it says, "
        "and which box it shows. A probe changes nothing. 0: no device is probed.",
    ),
    cfg.IntOpt(
        "proof_lifetime",
        default=900,
        min=60,
        help="Seconds for which a proof is valid in another recovery than the one it was made for.",
    ),
    cfg.BoolOpt(
        "require_verified",
        default=False,
        help="Switch off only hosts whose device has a verified identity: one that devices_file "
        "names.",
    ),
]
