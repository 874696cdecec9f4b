# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Every duration and size of the simulated cloud, and the presets."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a simulated cloud.  Durations are in seconds.

    The defaults were measured on a real Nova (34.0, four computes, two cores):
    one evacuation alone takes 0.8 to 1.5 s; fifty take 21.5 s with 6 to 20 in
    flight, and 36 s all at once, each then 34 s on average.
    """

    # -- size
    hosts: int = 4
    host_name: str = "compute{}"  #: counted from 1
    hypervisor_suffix: str = ""  #: hypervisor_hostname is the host's name plus this
    host_capacity: int = 1000  #: servers that fit on one host

    # -- what the catalogue has besides Nova
    neutron: bool = False
    placement: bool = False
    #: Until a nova-compute writes to Placement what Nova could not hand it (nova:
    #: update_resources_interval).
    placement_sync_s: float = 60.0

    # -- the APIs
    compute_api_workers: int = 4
    compute_read_s: float = 0.015
    compute_write_s: float = 0.04
    compute_row_s: float = 0.0004  #: added for each row of a list
    identity_api_workers: int = 4
    identity_read_s: float = 0.01
    identity_token_s: float = 0.03
    max_limit: int = 1000  #: rows per page, [api] max_limit of nova
    min_microversion: tuple[int, int] = (2, 1)
    max_microversion: tuple[int, int] = (2, 100)
    token_lifetime_s: float = 86400.0

    # -- nova-compute's heartbeat
    report_interval_s: float = 1.0
    service_down_s: float = 5.0
    startup_s: float = 2.0  #: from the start of nova-compute to its first heartbeat
    #: Disabling or enabling a service waits for its nova-compute: this long if Nova sees
    #: it up although it has just died (nova: rpc_response_timeout).
    rpc_timeout_s: float = 60.0

    # -- evacuations
    control_workers: int = 1  #: conductors and schedulers
    control_work_s: float = 0.43  #: their work for one evacuation, all phases
    crowd: int = 20  #: evacuations in flight up to which the control plane keeps its pace
    crowd_cost: float = 0.025  #: each one above makes every phase longer by this fraction
    crowd_max: float = 3.0  #: upper limit of that factor
    builds_per_host: int = 20
    spawn_s: float = 0.4
    jitter: float = (
        0.2  #: random spread of spawn, stop and start times: plus or minus this fraction
    )
    #: False: answer 409 while a task_state is set, as nova did before the fix
    #: of bug 1978983 (Zed, backported to Xena).
    evacuate_busy: bool = True

    # -- other operations
    build_s: float = 0.5
    stop_s: float = 0.5
    start_s: float = 0.5
    delete_s: float = 0.5
    power_sync_s: float = 600.0  #: until nova notices by itself that a guest died


PRESETS = {
    # As measured on a real Nova.
    "real": Settings(),
    # Twenty instances run again six to eight seconds after Nova sees the host down.
    "demo": Settings(
        compute_read_s=0.005,
        compute_write_s=0.01,
        compute_row_s=0.00005,
        identity_read_s=0.002,
        identity_token_s=0.01,
        report_interval_s=0.5,
        service_down_s=3.0,
        startup_s=1.0,
        rpc_timeout_s=2.0,
        control_work_s=0.3,
        crowd=12,
        crowd_cost=0.05,
        spawn_s=0.6,
        build_s=0.2,
        stop_s=0.4,
        start_s=0.4,
        delete_s=0.2,
        power_sync_s=60.0,
    ),
    # For tests and for measuring hacore itself: Nova takes hardly any time.
    "instant": Settings(
        compute_api_workers=64,
        compute_read_s=0.0,
        compute_write_s=0.0,
        compute_row_s=0.0,
        identity_read_s=0.0,
        identity_token_s=0.0,
        report_interval_s=0.2,
        service_down_s=1.0,
        startup_s=0.2,
        rpc_timeout_s=0.0,
        control_workers=64,
        control_work_s=0.02,
        crowd_cost=0.0,
        builds_per_host=1000,
        spawn_s=0.05,
        build_s=0.0,
        stop_s=0.05,
        start_s=0.05,
        delete_s=0.05,
        power_sync_s=60.0,
    ),
}
