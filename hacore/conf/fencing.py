# Licensed under the Apache License, Version 2.0; see LICENSE.
"""[fencing]: whether a host must be proved off before its instances are evacuated."""

from oslo_config import cfg

GROUP = "fencing"

OPTIONS = [
    cfg.StrOpt(
        "require_proof",
        default="configured",
        choices=[
            ("configured", "a host needs a proof if a fencing device is configured for it"),
            ("always", "every host needs one: of a step, of Pacemaker, or an operator's word"),
            ("never", "none does: a host that Nova does not hear is evacuated, as in Masakari"),
        ],
        help="Which hosts must be proved off before the first of their instances is evacuated. A "
        "recovery without the proof it needs is held (rule proof).",
    ),
    cfg.IntOpt(
        "proof_lifetime",
        default=900,
        min=60,
        help="Seconds for which a proof stands that was made before the recovery it is used for; "
        "one that is made for a recovery stands until that ends. Each ends when Nova hears the "
        "host.",
    ),
]
