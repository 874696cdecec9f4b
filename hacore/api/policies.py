# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who may do what: the rules of the routes, and the operator's policy files.

Rules of instance-ha have the names that Masakari gave them, so that an operator's
policy.yaml carries over.
"""

from wsgiref.types import WSGIEnvironment

from oslo_config import cfg
from oslo_log import log
from oslo_policy import policy

from hacore.api.context import Context
from hacore.api.operator.routes import OPERATOR_ROUTES
from hacore.api.routes import ROUTES, V1, Route
from hacore.clock import Clock, SystemClock
from hacore.errors import ConfigError, Forbidden

LOG = log.getLogger(__name__)

_BASE = [
    policy.RuleDefault(
        "context_is_admin",
        "role:admin",
        "Decides what is required for the 'is_admin:True' check to succeed.",
    ),
    policy.RuleDefault(
        "admin_or_owner",
        "is_admin:True or project_id:%(project_id)s",
        "No rule uses it by default; overrides of other rules may.",
    ),
    policy.RuleDefault(
        "admin_api",
        "is_admin:True",
        "Default of all rules of instance-ha, and of those of the operator API that change "
        "something.",
    ),
    policy.RuleDefault(
        "operator_reader",
        "rule:admin_api or (role:reader and system_scope:all)",
        "Default of the rules of the operator API that only read.",
    ),
]

_READ_INTERVAL_S = 1.0
#: What oslo.policy raises for files that it cannot read.
_UNREADABLE = (cfg.Error, OSError, TypeError, ValueError, AttributeError)


def list_rules() -> list[policy.RuleDefault]:
    """Return all rules, for the enforcer and for oslopolicy's generators (entry point)."""
    return [
        *_BASE,
        *(
            policy.DocumentedRuleDefault(
                route.rule,
                route.admits,
                f"{route.summary}.",
                [{"method": route.method, "path": _documented(route)}],
                scope_types=None,
            )
            for route in (*ROUTES, *OPERATOR_ROUTES)
            if route.rule
        ),
    ]


def _documented(route: Route) -> str:
    """Return the path as a policy file names it: Masakari's without its root."""
    return route.path if route.root == V1 else route.url


class Policy:
    """The rules, with what the operator overrides.

    Raises ConfigError if the policy files are invalid: a rule that cannot be parsed
    refuses everybody, and that shows only when the rule is first needed.
    """

    def __init__(self, conf: cfg.ConfigOpts, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._next_read_s = 0.0
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.suppress_default_change_warnings = True
        self._enforcer.register_defaults(list_rules())
        self._check_files(conf)

    def _check_files(self, conf: cfg.ConfigOpts) -> None:
        options = conf.oslo_policy
        location = conf.get_location("policy_file", "oslo_policy")
        defaults = (cfg.Locations.opt_default, cfg.Locations.set_default)
        named = location is not None and location.location not in defaults
        if named and not conf.find_file(options.policy_file):
            raise ConfigError(
                f"[oslo_policy] policy_file names {options.policy_file}, which does not exist."
            )
        try:
            self._enforcer.load_rules(force_reload=True)
            self._enforcer.check_rules(raise_on_violation=True)
        except policy.InvalidDefinitionError as exc:
            raise ConfigError(f"The policy files are invalid: {exc}") from exc
        except _UNREADABLE as exc:
            reason = " ".join(str(exc).split())
            raise ConfigError(f"The policy files cannot be read: {reason}") from exc
        for name, rule in sorted(self._enforcer.file_rules.items()):
            parsed = self._enforcer.rules[name]
            if "!" in str(parsed) and "!" not in str(rule.check_str):
                raise ConfigError(
                    f"The policy files are invalid: rule {name!r} is {rule.check_str!r}, which "
                    "oslo.policy cannot parse."
                )

    def _reload_files(self) -> None:
        """Read the policy files again if they have changed; invalid ones change nothing.

        oslo.policy would check the files at every decision, which takes longer than
        the decision; use_conf says whether it checks.
        """
        now = self._clock.monotonic()
        if now < self._next_read_s:
            return
        self._next_read_s = now + _READ_INTERVAL_S
        self._enforcer.use_conf = True
        try:
            self._enforcer.load_rules()
        except _UNREADABLE as exc:
            LOG.error("Failed to reload the policy files: %s; keeping the current rules", exc)
        finally:
            self._enforcer.use_conf = False

    def identify(self, environ: WSGIEnvironment) -> Context:
        """Return the caller, from what the authentication middleware put into the environment."""
        self._reload_files()
        caller: Context = Context.from_environ(environ)
        caller.is_admin = False
        caller.is_admin = self._allows("context_is_admin", caller)
        return caller

    def authorize(self, rule: str, caller: Context) -> None:
        """Raise Forbidden unless the rule admits the caller."""
        if not self._allows(rule, caller):
            raise Forbidden(f"The policy ({rule}) does not allow you to do this.")

    def _allows(self, rule: str, caller: Context) -> bool:
        target = {"project_id": caller.project_id, "user_id": caller.user_id}
        return bool(self._enforcer.authorize(rule, target, caller, do_raise=False))
