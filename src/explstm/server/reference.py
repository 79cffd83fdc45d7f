"""The description of the service for people, as one page that needs no script and no network.

Contract: what ``/docs`` shows is what ``/api/v1/openapi.json`` says, escaped.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

STYLE = "/docs.css"


def add_reference(app: FastAPI) -> None:
    """Put ``/docs`` and its style into an app."""
    templates = Environment(
        loader=PackageLoader("explstm.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("reference.html.j2")
    loader: Any = templates.loader

    @app.get("/docs", include_in_schema=False)
    async def show_reference() -> HTMLResponse:
        described = app.openapi()
        return HTMLResponse(
            page.render(
                info=described["info"],
                routes=_list_routes(described),
                schemas=_list_schemas(described),
                style=STYLE,
                address=app.openapi_url,
            )
        )

    @app.get(STYLE, include_in_schema=False)
    async def send_style() -> FileResponse:
        folder = loader._template_root
        return FileResponse(f"{folder}/reference.css", media_type="text/css")


def _list_routes(described: dict[str, Any]) -> list[dict[str, Any]]:
    """Every route with its words, parameters, bodies and answers."""
    return [
        {
            "method": method.upper(),
            "path": path,
            "summary": route.get("summary", ""),
            "description": route.get("description", ""),
            "parameters": [
                (parameter["name"], parameter["in"], _name_type(parameter.get("schema", {})))
                for parameter in route.get("parameters", ())
            ],
            "bodies": [
                (kind, _name_type(body.get("schema", {})))
                for kind, body in route.get("requestBody", {}).get("content", {}).items()
            ],
            "answers": [
                (status, kind, _name_type(body.get("schema", {})))
                for status, answer in route.get("responses", {}).items()
                for kind, body in answer.get("content", {}).items()
                if status.startswith("2")
            ],
        }
        for path, methods in described["paths"].items()
        for method, route in methods.items()
    ]


def _list_schemas(described: dict[str, Any]) -> list[dict[str, Any]]:
    """Every schema with its fields."""
    return [
        {
            "name": name,
            "description": schema.get("description", ""),
            "fields": [
                (field, _name_type(part), field in schema.get("required", ()), _explain(part))
                for field, part in schema.get("properties", {}).items()
            ],
        }
        for name, schema in described.get("components", {}).get("schemas", {}).items()
    ]


def _explain(schema: dict[str, Any]) -> str:
    limits = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default")
    told = [f"{name} {schema[name]}" for name in limits if schema.get(name) is not None]
    return " ".join([schema.get("description", ""), *(f"({text})" for text in told)]).strip()


def _name_type(schema: dict[str, Any]) -> str:
    """The type of a schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_name_type, schema["anyOf"])))
    if "enum" in schema:
        return " or ".join(repr(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_name_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or schema.get("const") or "any")
