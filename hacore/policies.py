# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Who may do what.

Rules bear the names that Masakari gave them, so that an operator's policy.yaml
carries over.
"""

from oslo_policy import policy

ADMIN = "rule:admin_api"

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
    policy.RuleDefault("admin_api", "is_admin:True", "Default of all rules of the API."),
]


def name(resource: str, action: str) -> str:
    """Return the name of a rule; resources are spelled as Masakari spells them there."""
    return f"os_masakari_api:{resource}:{action}"


def _rule(
    resource: str, action: str, description: str, method: str, path: str
) -> policy.DocumentedRuleDefault:
    return policy.DocumentedRuleDefault(
        name(resource, action),
        ADMIN,
        description,
        [{"method": method, "path": path}],
        scope_types=None,
    )


_RULES = [
    _rule("segments", "index", "List segments.", "GET", "/segments"),
    _rule("segments", "detail", "Show a segment.", "GET", "/segments/{segment_id}"),
    _rule("segments", "create", "Create a segment.", "POST", "/segments"),
    _rule("segments", "update", "Change a segment.", "PUT", "/segments/{segment_id}"),
    _rule(
        "segments",
        "delete",
        "Delete a segment with its hosts.",
        "DELETE",
        "/segments/{segment_id}",
    ),
    _rule(
        "os-hosts",
        "index",
        "List the hosts of a segment.",
        "GET",
        "/segments/{segment_id}/hosts",
    ),
    _rule(
        "os-hosts",
        "detail",
        "Show a host.",
        "GET",
        "/segments/{segment_id}/hosts/{host_id}",
    ),
    _rule(
        "os-hosts",
        "create",
        "Register a host in a segment.",
        "POST",
        "/segments/{segment_id}/hosts",
    ),
    _rule(
        "os-hosts",
        "update",
        "Change a host.",
        "PUT",
        "/segments/{segment_id}/hosts/{host_id}",
    ),
    _rule(
        "os-hosts",
        "delete",
        "Remove a host from its segment.",
        "DELETE",
        "/segments/{segment_id}/hosts/{host_id}",
    ),
    _rule("notifications", "index", "List notifications.", "GET", "/notifications"),
    _rule(
        "notifications",
        "detail",
        "Show a notification.",
        "GET",
        "/notifications/{notification_id}",
    ),
    _rule("notifications", "create", "Report a failure.", "POST", "/notifications"),
    _rule(
        "vmoves",
        "index",
        "List the VM moves of a notification.",
        "GET",
        "/notifications/{notification_id}/vmoves",
    ),
    _rule(
        "vmoves",
        "detail",
        "Show a VM move.",
        "GET",
        "/notifications/{notification_id}/vmoves/{vmove_id}",
    ),
    _rule("extensions", "index", "List the extensions of the API.", "GET", "/extensions"),
    _rule("extensions", "detail", "Show an extension.", "GET", "/extensions/{alias}"),
]


def list_rules() -> list[policy.RuleDefault]:
    """Return all rules, for the enforcer and for oslopolicy's generators (entry point)."""
    return [*_BASE, *_RULES]
