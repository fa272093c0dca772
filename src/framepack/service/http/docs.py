"""``/docs``: the description of the API as one page that needs nothing from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

__all__ = ["page", "router"]

router = APIRouter()

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1b1b1f;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}
summary{cursor:pointer;padding:.4rem 0}
details{border-bottom:1px solid #eee}
code,pre{font:13px/1.45 ui-monospace,monospace}
pre{background:#f4f4f6;padding:.8rem;overflow-x:auto;border-radius:6px}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #eee}
b.get{color:#0a6}b.post{color:#06c}b.delete{color:#c30}
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#17171a}
pre{background:#232328}td,th,details,h2{border-color:#333}}
"""


@router.get("/docs", include_in_schema=False)
def show_docs(request: Request) -> HTMLResponse:
    """Show every route with its fields, answers and an example."""
    return HTMLResponse(
        page(request.app.openapi(), str(request.base_url).rstrip("/")),
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )


def page(document: Mapping[str, Any], address: str) -> str:
    """The page of an OpenAPI document.

    Args:
        document: the document.
        address: of the server, for the examples.
    """
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = str((operation.get("tags") or ["Other"])[0]).capitalize()
            by_tag.setdefault(tag, []).append(
                "".join(_operation(document, address, path, method, operation))
            )
    parts = [f"<h2>{escape(tag)}</h2>{''.join(found)}" for tag, found in by_tag.items()]
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])} API'
        f"</title><style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info.get('description', ''))}</p>"
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>'
        f"{''.join(parts)}</html>"
    )


def _operation(
    document: Mapping[str, Any], address: str, path: str, method: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    yield (
        f'<details><summary><b class="{method}">{method.upper()}</b> <code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary>"
    )
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    yield _fields("Parameters", _parameters(operation))
    content = operation.get("requestBody", {}).get("content", {})
    for kind, body in content.items():
        schema = _resolved(document, body["schema"])
        needed = schema.get("required", ())
        yield _fields(
            f"Body: {kind}",
            [
                (name, name in needed, _type(inner), inner.get("description", ""))
                for name, inner in schema.get("properties", {}).items()
            ],
        )
    for example in _requests(address, path, method, operation, content):
        yield f"<pre>{escape(example)}</pre>"
    yield _answers(document, operation)
    yield "</details>"


def _parameters(operation: Mapping[str, Any]) -> list[tuple[str, bool, str, str]]:
    return [
        (
            f"{each['name']} ({each['in']})",
            bool(each.get("required")),
            _type(each.get("schema", {})),
            each.get("description", ""),
        )
        for each in operation.get("parameters", ())
    ]


def _fields(title: str, rows: list[tuple[str, bool, str, str]]) -> str:
    if not rows:
        return ""
    lines = [
        f"<tr><td><code>{escape(name)}</code>{' *' if is_needed else ''}<td>{escape(kind)}"
        f"<td>{escape(text)}"
        for name, is_needed, kind, text in rows
    ]
    return f"<details><summary>{escape(title)}</summary><table>{''.join(lines)}</table></details>"


def _requests(
    address: str,
    path: str,
    method: str,
    operation: Mapping[str, Any],
    content: Mapping[str, Any],
) -> Iterator[str]:
    """Command lines that send such a request."""
    shown = path
    for each in operation.get("parameters", ()):
        if each["in"] == "path":
            example = (each.get("examples") or each.get("schema", {}).get("enum") or [None])[0]
            shown = shown.replace(f"{{{each['name']}}}", str(example or each["name"].upper()))
    verb = "" if method == "get" else f" -X {method.upper()}"
    line = f"curl{verb} '{address}{shown}'"
    examples = content.get("application/json", {}).get("examples", {})
    if not content:
        yield line
    for name, example in examples.items():
        body = json.dumps(example["value"], ensure_ascii=False).replace("'", "'\\''")
        short = body if len(body) < 500 else f"{body[:480]}..."
        yield f"# {name}\n{line} -H 'Content-Type: application/json' -d '{short}'"
    if "multipart/form-data" in content:
        field = "input_reference" if examples else "file"
        yield f"# with a file\n{line} -F {field}=@photo.jpg" + (
            " -F prompt='the camera pans left'" if examples else ""
        )


def _answers(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    parts = []
    for status, answer in operation["responses"].items():
        parts.append(f"<tr><td>{escape(status)}<td>{escape(answer.get('description', ''))}")
        for body in answer.get("content", {}).values():
            if "example" in body:
                text = body["example"]
                text = text if isinstance(text, str) else json.dumps(text, indent=1)
                parts[-1] += f"<pre>{escape(text)}</pre>"
    return f"<details><summary>Answers</summary><table>{''.join(parts)}</table></details>"


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            kinds = dict.fromkeys(_type(each) for each in schema[key])
            return " or ".join(kind for kind in kinds if kind != "null")
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    kind = str(schema.get("format") or schema.get("type") or "any")
    return f"list of {_type(schema['items'])}" if kind == "array" and "items" in schema else kind
