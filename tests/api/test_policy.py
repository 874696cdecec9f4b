# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Rules, what an operator overrides, and broken policy files."""

import os
from pathlib import Path
from wsgiref.types import WSGIApplication

import pytest
from falcon import testing
from oslo_config import cfg
from oslo_policy import policy

from hacore.api import policies
from hacore.api.app import make_app
from hacore.api.context import Context, who
from hacore.api.operator.routes import OPERATOR_ROUTES
from hacore.api.policies import Policy
from hacore.api.routes import ROUTES
from hacore.clock import SystemClock
from hacore.db.engine import Database
from hacore.errors import ConfigError, Forbidden

from .conftest import Client, Computes


@pytest.fixture
def policy_file(conf: cfg.ConfigOpts, tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    policy.Enforcer(conf)  # registers the option
    conf.set_override("policy_file", str(path), group="oslo_policy")
    return path


#: Everybody who has a token may use these; any other route needs a rule.
WITHOUT_A_RULE = {("GET", ""), ("GET", "/versions/{version_id}")}


def test_every_route_has_a_documented_rule() -> None:
    documented = {
        (operation["method"], operation["path"]): rule.name
        for rule in policies.list_rules()
        for operation in getattr(rule, "operations", ())
    }
    routes = {(route.method, route.path): route.rule for route in ROUTES if route.rule}
    operator = {(route.method, route.url): route.rule for route in OPERATOR_ROUTES}

    assert routes | operator == documented
    assert len(set(documented.values())) == len(documented)
    assert [
        rule for rule in operator.values() if not str(rule).startswith("hacore:operator:")
    ] == []
    without = {(route.method, route.path) for route in ROUTES if not route.rule}
    assert without == WITHOUT_A_RULE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"os_masakari_api:segments:index": "role:admin', "cannot be read"),
        ("- a\n- b\n", "cannot be read"),
        ('"os_masakari_api:segments:index": "rule:nobody_knows"', "segments:index"),
        ('"a": "rule:b"\n"b": "rule:a"', "invalid"),
        ('"os_masakari_api:segments:index": "role admin"', "segments:index"),
        ('"os_masakari_api:segments:index": "role:admin and"', "segments:index"),
        ('"os_masakari_api:segments:index": "(role:admin"', "segments:index"),
    ],
)
def test_a_broken_policy_file_stops_the_start(
    conf: cfg.ConfigOpts, policy_file: Path, text: str, message: str
) -> None:
    policy_file.write_text(text)

    with pytest.raises(ConfigError, match=message) as raised:
        Policy(conf)

    assert "\n" not in str(raised.value)


def test_a_policy_file_that_was_named_must_exist(conf: cfg.ConfigOpts, policy_file: Path) -> None:
    with pytest.raises(ConfigError, match="policy_file"):
        Policy(conf)


def test_rules_that_refuse_everybody_are_fine(conf: cfg.ConfigOpts, policy_file: Path) -> None:
    policy_file.write_text('"os_masakari_api:segments:delete": "!"')
    Policy(conf)


def test_an_override_of_masakari_carries_over(
    conf: cfg.ConfigOpts, policy_file: Path, db: Database, nova: Computes
) -> None:
    policy_file.write_text(
        '"os_masakari_api:segments:index": "rule:admin_or_owner"\n'
        '"os_masakari_api:segments:create": "!"\n'
        '"os_masakari_api:segments:discoverable": "@"\n'
    )
    conf.set_override("auth_strategy", "noauth2")
    client = Client(make_app(conf, db, nova, lambda: None))

    body = {"segment": {"name": "x", "recovery_method": "auto", "service_type": "COMPUTE"}}

    assert client.get("/v1/segments").status_code == 200
    answer = client.post("/v1/segments", body)
    assert answer.status_code == 403
    assert "os_masakari_api:segments:create" in answer.json["forbidden"]["message"]


def test_files_that_change_are_read_again_and_broken_ones_change_nothing(
    conf: cfg.ConfigOpts, policy_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Seconds(SystemClock):
        passed = 0.0

        def monotonic(self) -> float:
            return self.passed

    clock = Seconds()
    policy_file.write_text("{}")
    rules = Policy(conf, clock)

    def allowed() -> bool:
        clock.passed += 2
        caller = rules.identify({"HTTP_X_ROLES": "operator", "HTTP_X_USER_ID": "u"})
        try:
            rules.authorize("os_masakari_api:notifications:create", caller)
        except Forbidden:
            return False
        return True

    def write(text: str) -> None:
        policy_file.write_text(text)
        os.utime(policy_file, times=(4e9 + clock.passed,) * 2)  # newer than what was read

    assert not allowed()
    write('"context_is_admin": "role:operator"')
    assert allowed()
    write('"context_is_admin": "role:admin')
    assert allowed()
    assert "Failed to reload the policy files: " in caplog.text
    write('"context_is_admin": "role:admin"')
    assert not allowed()


@pytest.mark.parametrize(
    ("rule", "roles", "allowed"),
    [
        (None, "admin", True),
        (None, "Admin", True),
        (None, "member,reader", False),
        (None, "", False),
        ('"context_is_admin": "role:ha_operator"', "ha_operator", True),
        ('"context_is_admin": "role:ha_operator"', "admin", False),
        ('"admin_api": "role:reader"', "reader", True),
    ],
)
def test_who_is_an_administrator(
    conf: cfg.ConfigOpts, policy_file: Path, rule: str | None, roles: str, allowed: bool
) -> None:
    policy_file.write_text(rule or "")
    rules = Policy(conf)
    caller = rules.identify({"HTTP_X_ROLES": roles, "HTTP_X_USER_ID": "u"})

    if allowed:
        rules.authorize("os_masakari_api:notifications:create", caller)
    else:
        with pytest.raises(Exception, match="notifications:create"):
            rules.authorize("os_masakari_api:notifications:create", caller)


READS = [route.rule for route in OPERATOR_ROUTES if route.method == "GET"]
#: No service may: each may have hosts used, or evacuated, that are not what they seem.
APPROVE = (
    "hacore:operator:recoveries:approve",
    "hacore:operator:proofs:create",
    "hacore:operator:hosts:return",
)
WRITES = [route.rule for route in OPERATOR_ROUTES if route.rule not in {*READS, *APPROVE}]


@pytest.mark.parametrize(
    ("roles", "scope", "may"),
    [
        ("admin,member,reader", None, {*READS, *WRITES, *APPROVE}),
        ("admin,member,reader", "all", {*READS, *WRITES, *APPROVE}),
        ("admin,service", None, {*READS, *WRITES}),
        ("reader", "all", {*READS}),
        ("member,reader", "all", {*READS}),
        ("member,reader", None, set()),
        ("service,reader", None, set()),
        ("", "all", set()),
    ],
)
def test_who_may_read_write_and_approve(
    conf: cfg.ConfigOpts, roles: str, scope: str | None, may: set[str]
) -> None:
    rules = Policy(conf)
    environ = {"HTTP_X_ROLES": roles, "HTTP_X_USER_ID": "u"}
    if scope is not None:
        environ["HTTP_OPENSTACK_SYSTEM_SCOPE"] = scope
    caller = rules.identify(environ)
    allowed = set()
    for route in OPERATOR_ROUTES:
        assert route.rule is not None
        try:
            rules.authorize(route.rule, caller)
        except Forbidden:
            continue
        allowed.add(route.rule)

    assert allowed == may


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"HTTP_X_USER_ID": "4f2", "HTTP_X_USER_NAME": "alice"}, "alice"),
        (
            {
                "HTTP_X_USER_NAME": "alice",
                "HTTP_X_USER_DOMAIN_NAME": "Default",
                "HTTP_X_USER_DOMAIN_ID": "default",
            },
            "alice",
        ),
        (
            {
                "HTTP_X_USER_NAME": "alice",
                "HTTP_X_USER_DOMAIN_NAME": "corp",
                "HTTP_X_USER_DOMAIN_ID": "7c1",
            },
            "alice@corp",
        ),
        ({"HTTP_X_USER_ID": "4f2"}, "4f2"),
        ({"HTTP_X_USER_NAME": "a\n  b\x1b[31m\u202ec"}, "a b [31m c"),
        ({"HTTP_X_USER_NAME": "x" * 300}, "x" * 255),
        ({}, "unknown"),
    ],
)
def test_who_did_it(environ: dict[str, str], name: str) -> None:
    assert who(Context.from_environ(environ)) == name


def test_what_needs_no_token(app: WSGIApplication) -> None:
    for path in ("/", "/healthcheck", "/v1/openapi.json", "/operator/v1/openapi.json"):
        assert testing.simulate_get(app, path).status_code == 200
