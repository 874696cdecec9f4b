# Licensed under the Apache License, Version 2.0; see LICENSE.
"""``.. rest-reference:: openapi.json``: the REST API, one section for each operation.

Parameters that all operations share are left out.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

_EVERYWHERE = "OpenStack-API-Version"
Json = dict[str, Any]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    for row in [head, *rows]:
        for number, cell in enumerate(row):
            yield f"   {'-' if number else '*'} - {cell}".replace("   - -", "     -")
    yield ""


def _example(title: str, body: Any) -> Iterator[str]:
    if body is None:
        return
    yield f"{title}:"
    yield ""
    yield ".. code-block:: json"
    yield ""
    for line in json.dumps(body, indent=2).splitlines():
        yield f"   {line}"
    yield ""


def _kind(schema: Json) -> str:
    """Return the values that a schema allows, in a few words."""
    if "const" in schema:
        return f"``{schema['const']}``"
    if "enum" in schema:
        return ", ".join(f"``{word}``" for word in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _fields(schema: Json, path: str = "") -> Iterator[tuple[str, ...]]:
    """Yield the fields of a body: name, kind, whether it is required, description."""
    for name, field in schema.get("properties", {}).items():
        full_name = f"{path}{name}"
        variants = [each for each in (field, *field.get("oneOf", ())) if each.get("properties")]
        for variant in variants:
            yield from _fields(variant, f"{full_name}.")
        if variants:
            continue
        required = "yes" if name in schema.get("required", ()) else "no"
        yield f"``{full_name}``", _kind(field), required, field.get("description", "")


def _merged(rows: Iterator[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return one row for each field: variants of a body share some."""
    found: dict[str, tuple[list[str], str, str]] = {}
    for name, kind, required, text in rows:
        kinds, _, _ = found.setdefault(name, ([], required, text))
        if kind not in kinds:
            kinds.append(kind)
    return [(name, ", or ".join(kinds), *rest) for name, (kinds, *rest) in found.items()]


def _media(holder: Json) -> Json:
    media: Json = holder.get("content", {}).get("application/json", {})
    return media


def _operation(method: str, path: str, operation: Json) -> Iterator[str]:
    title = f"{method.upper()} {path}"
    yield from (title, "~" * len(title), "")
    yield f"{operation['summary']}."
    yield ""
    if description := operation.get("description"):
        yield from (description.replace("`", "``"), "")
    parameters = [each for each in operation.get("parameters", ()) if each["name"] != _EVERYWHERE]
    rows = [
        (
            f"``{each['name']}``",
            each["in"],
            _kind(each.get("schema", {})),
            each.get("description", "").replace("`", "``"),
        )
        for each in parameters
    ]
    yield from _table(("parameter", "in", "kind", ""), rows)
    body = _media(operation.get("requestBody", {}))
    schema = body.get("schema", {})
    yield from _table(("field of the body", "kind", "required", ""), _merged(_fields(schema)))
    yield from _example("Example", body.get("example"))
    faults = []
    for status, answer in operation["responses"].items():
        if status.startswith(("4", "5")):
            faults.append(f"{status} {answer['description']}")
            continue
        yield f"Answer: {status}"
        yield ""
        yield from _example("Example of an answer", _media(answer).get("example"))
    if faults:
        yield f"Faults: {', '.join(faults)}."
        yield ""


def _document(document: Json) -> Iterator[str]:
    for tag in (each["name"] for each in document["tags"]):
        yield from (tag, "-" * len(tag), "")
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if tag in operation.get("tags", ()):
                    yield from _operation(method, path, operation)


class RestReference(SphinxDirective):
    """Sections for all operations, by tag."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        relative, name = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        document = json.loads(pathlib.Path(name).read_text())
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList([*_document(document)], source=name), node)
        return list(node.children)


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("rest-reference", RestReference)
    return {"parallel_read_safe": True}
