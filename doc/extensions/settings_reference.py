# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``.. every-option:: NAMESPACE ...`` and ``.. every-rule::``, from the code as the samples are."""

import importlib.metadata
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from oslo_config import cfg
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

from hacore.api import policies

Groups = dict[str, dict[str, cfg.Opt]]


def _points(group: str) -> dict[str, Callable[[], Any]]:
    return {point.name: point.load() for point in importlib.metadata.entry_points(group=group)}


def _groups(namespaces: list[str]) -> Groups:
    """Return all options of these namespaces by group and name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that eventlet is deprecated, says oslo.service
        listed, changed = _points("oslo.config.opts"), _points("oslo.config.opts.defaults")
    changed["hacore"]()
    found: Groups = {}
    for namespace in namespaces:
        for group, options in listed[namespace]():
            name = getattr(group, "name", group) or "DEFAULT"
            found.setdefault(name, {}).update({option.dest: option for option in options})
    return found


def _default(option: cfg.Opt) -> str:
    value = option.sample_default if option.sample_default is not None else option.default
    if value is None or value == "":
        return "not set"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    # markup allows no blank at either end of a literal
    return f"``{' '.join(text.split())}``" if text.strip() else "blank"


def _facts(option: cfg.Opt) -> Iterator[str]:
    kind = option.type
    if kind is not None:
        yield kind.__name__ if isinstance(kind, type) else str(kind).partition("(")[0].lower()
    bounds = [f"{word} {getattr(kind, word)}" for word in ("min", "max") if _has(kind, word)]
    yield from bounds
    yield f"default: {_default(option)}"
    if option.required:
        yield "required"
    if option.secret:
        yield "secret"
    if option.deprecated_for_removal:
        yield "deprecated"


def _has(kind: object, word: str) -> bool:
    return getattr(kind, word, None) is not None


def _plain(text: str) -> str:
    """Return a help text as one paragraph; libraries write in all kinds of markup."""
    return re.sub(r"([*`|_\\])", r"\\\1", " ".join(text.split()))


def _option(option: cfg.Opt) -> Iterator[str]:
    yield f"``{option.dest}``"
    yield f"   {'; '.join(_facts(option))}"
    yield ""
    if option.help:
        yield from (f"   {_plain(option.help)}", "")
    for word, meaning in (getattr(option.type, "choices", None) or {}).items():
        if meaning:
            yield from (f"   * ``{word}``: {_plain(meaning)}",)
    yield ""


class EveryOption(SphinxDirective):
    """A section for each group, a definition for each option."""

    required_arguments = 1
    final_argument_whitespace = True

    def lines(self) -> Iterator[str]:
        for group, options in sorted(_groups(self.arguments[0].split()).items()):
            yield from (f"[{group}]", "~" * (len(group) + 2), "")
            for name in sorted(options):
                yield from _option(options[name])

    def run(self) -> list[nodes.Node]:
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList([*self.lines()], source="options"), node)
        return list(node.children)


class EveryRule(SphinxDirective):
    """A definition for each rule of the policy."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for rule in policies.list_rules():
            lines += [f"``{rule.name}``", f"   default: ``{rule.check_str or '@'}``", ""]
            lines += [f"   {_plain(rule.description)}", ""] if rule.description else []
            for each in getattr(rule, "operations", ()):
                methods = each["method"]
                words = methods if isinstance(methods, str) else ", ".join(methods)
                lines.append(f"   * ``{words} {each['path']}``")
            lines.append("")
        node = nodes.container()
        self.state.nested_parse(StringList(lines, source="policies"), 0, node)
        return list(node.children)


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("every-option", EveryOption)
    app.add_directive("every-rule", EveryRule)
    return {"parallel_read_safe": True}
