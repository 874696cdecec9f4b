# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who calls, and whether they may."""

from collections.abc import Iterable, MutableMapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_config import cfg
from oslo_context import context
from oslo_log import log
from oslo_policy import policy

from hacore import policies
from hacore.clock import Clock, SystemClock
from hacore.errors import ConfigError, Forbidden

LOG = log.getLogger(__name__)

_LOOK_INTERVAL_S = 1.0
#: What oslo.policy raises for files that are not what they should be.
_UNREADABLE = (cfg.Error, OSError, TypeError, ValueError, AttributeError)


_MARK = "hacore.guard"
#: An object, as servers fill the environment with text: no client can send it.
_PASSED = object()


class Context(context.RequestContext):
    """The caller; `is_admin` is decided by the rule ``context_is_admin``."""

    def to_policy_values(self) -> MutableMapping[str, Any]:
        values = dict(super().to_policy_values())
        values["is_admin"] = self.is_admin
        return values


class Policy:
    """The rules, with what the operator overrides.

    Raises ConfigError if the policy files are broken: a rule nobody understands
    would refuse everybody, and only when it is first needed.
    """

    def __init__(self, conf: cfg.ConfigOpts, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._look_at = 0.0
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.suppress_default_change_warnings = True
        self._enforcer.register_defaults(policies.list_rules())
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
            raise ConfigError(f"The policy files are wrong: {exc}") from exc
        except _UNREADABLE as exc:
            reason = " ".join(str(exc).split())
            raise ConfigError(f"The policy files cannot be read: {reason}") from exc
        for name, rule in sorted(self._enforcer.file_rules.items()):
            parsed = self._enforcer.rules[name]
            if "!" in str(parsed) and "!" not in str(rule.check_str):
                raise ConfigError(
                    f"The policy files are wrong: rule {name!r} is {rule.check_str!r}, which is "
                    "not in the language of oslo.policy."
                )

    def _follow_files(self) -> None:
        """Read the policy files again if they have changed; broken ones change nothing.

        oslo.policy would look for them at every decision, and that takes longer than
        to decide; use_conf says whether it looks.
        """
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_INTERVAL_S
        self._enforcer.use_conf = True
        try:
            self._enforcer.load_rules()
        except _UNREADABLE as exc:
            LOG.error("the policy files cannot be read, the rules stay: %s", exc)
        finally:
            self._enforcer.use_conf = False

    def identify(self, environ: WSGIEnvironment) -> Context:
        """Return who calls, from what the middleware left in the environment."""
        self._follow_files()
        caller: Context = Context.from_environ(environ)
        caller.is_admin = False
        caller.is_admin = self._allows("context_is_admin", caller)
        return caller

    def authorize(self, rule: str, caller: Context) -> None:
        """Raise Forbidden unless the rule lets the caller through."""
        if not self._allows(rule, caller):
            raise Forbidden(f"The policy ({rule}) does not allow you to do this.")

    def _allows(self, rule: str, caller: Context) -> bool:
        target = {"project_id": caller.project_id, "user_id": caller.user_id}
        return bool(self._enforcer.authorize(rule, target, caller, do_raise=False))


def let_in(environ: WSGIEnvironment) -> None:
    """Note that a request has passed the guard; see hacore.api.door."""
    environ[_MARK] = _PASSED


def has_passed(environ: WSGIEnvironment) -> bool:
    """Return whether the guard has let this request in."""
    return environ.get(_MARK) is _PASSED


class NoAuth:
    """``auth_strategy = noauth2``: everybody is an administrator.

    A token ``USER:PROJECT`` says which user and project it shall be.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        user, _, project = environ.get("HTTP_X_AUTH_TOKEN", "").partition(":")
        environ["HTTP_X_USER_ID"] = user or "admin"
        environ["HTTP_X_PROJECT_ID"] = project or "admin"
        environ["HTTP_X_ROLES"] = "admin,member,reader"
        environ["HTTP_X_IDENTITY_STATUS"] = "Confirmed"
        return self._app(environ, start_response)
