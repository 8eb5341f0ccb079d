"""Write the reference pages that follow from the code: specs, command line, models and GPUs.

Usage: python docs/build_reference.py [--check]

With --check nothing is written; the exit code is 1 if a page isn't what the code says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

__all__ = ["PAGES"]

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by docs/build_reference.py (make docs) from the code; changes here are lost. -->\n\n"

Schema = dict[str, Any]


def cell(text: str) -> str:
    """``text`` as one cell of a Markdown table."""
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def prose(docstring: str) -> str:
    """A docstring as Markdown."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", docstring.strip()).replace("``", "`")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell(text) for text in line) + " |\n" for line in lines)


# Specs, from their JSON schemas.


def section(name: str) -> str:
    """Heading of the definition ``name``: ``SloTargets`` becomes ``Slo targets``, ``ClientSpec`` becomes ``Client``."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name.removesuffix("Spec"))
    return words.strip().capitalize().replace("Serve gen", "ServeGen")


def link(reference: str) -> str:
    """A link to the section of a ``$ref``."""
    title = section(reference.rsplit("/", 1)[-1])
    return f"[{title[0].lower() + title[1:] if title[1:].islower() else title}](#{title.lower().replace(' ', '-')})"


def limits(schema: Schema) -> str:
    """The range of a number or of a list's length, in words."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return " " + " and ".join(found) if found else ""


def kind(schema: Schema) -> str:
    """What a value may be, in words."""
    if "x-range" in schema:
        return f"{kind({key: value for key, value in schema.items() if key != 'x-range'})}, {schema['x-range']}"
    if "$ref" in schema:
        return link(schema["$ref"])
    if "enum" in schema:
        return ", ".join(dict.fromkeys("empty" if value == "" else f"`{value}`" for value in schema["enum"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            keys = {name: schema[name] for name in ("propertyNames", "minItems") if name in schema}
            parts = [kind({**option, **keys}) for option in schema[key] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(parts))
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}, each {kind(schema['prefixItems'][0])}"
        case "array":
            least = f" of at least {schema['minItems']}" if schema.get("minItems") else ""
            return f"list{least}, each {kind(schema.get('items') or {})}"
        case "object" if "properties" in schema:
            return "mapping with " + ", ".join(f"`{name}`" for name in schema["properties"])
        case "object":
            inner, keys = schema.get("additionalProperties"), "names"
            if "propertyNames" in schema:
                keys = kind(schema["propertyNames"]) if "enum" in schema["propertyNames"] else "values"
            return f"mapping of {keys} to {kind(inner if isinstance(inner, dict) else {})}"
        case "integer":
            return f"whole number{limits(schema)}"
        case "number":
            return f"number{limits(schema)}"
        case "string" if "|ms|s|" in schema.get("pattern", ""):
            return "text with a unit (us, ms, s, min, h)"
        case "string":
            return "text that isn't empty" if schema.get("minLength") else "text"
        case "boolean":
            return "true or false"
        case other:
            return str(other or "anything")


def units(schema: Schema) -> str:
    """What the numbers of a key count, which its type may tell; empty where it has none."""
    if "x-unit" in schema:
        return str(schema["x-unit"])
    inner = [schema.get("items"), schema.get("additionalProperties"), *schema.get("prefixItems", ())]
    inner += [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    found = [units(part) for part in inner if isinstance(part, dict)]
    return ", ".join(dict.fromkeys(unit for unit in found if unit))


def yaml_text(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def default(schema: Schema, required: bool) -> str:
    """The default of a key, in words."""
    if required:
        return "**required**"
    if "x-default" in schema:
        return str(schema["x-default"])
    match schema["default"]:
        case None:
            return "none"
        case "" | []:
            return "empty"
        case dict(value):
            return "its defaults" if value else "empty"
        case value:
            return f"`{yaml_text(value)}`"


def fields(schema: Schema) -> str:
    """The table of an object's keys."""
    required = set(schema.get("required", ()))
    rows = [
        (
            f"`{name}`",
            kind(inner),
            units(inner),
            default(inner, name in required),
            inner["description"],
            ", ".join(f"`{yaml_text(example)}`" for example in inner["examples"]),
        )
        for name, inner in schema["properties"].items()
    ]
    return table(("key", "value", "unit", "default", "meaning", "example"), rows)


def definition(schema: Schema) -> str:
    """The text and tables of one definition."""
    text = prose(schema.get("description", ""))
    parts = [f"{text}\n"] if text else []
    if "properties" in schema:
        parts.append(fields(schema))
    if "oneOf" in schema:
        parts.append(f"One of {kind(schema).replace(' or ', ', ')}.\n")
    for option in schema.get("anyOf", ()):
        if "properties" in option:
            parts.append(fields(option))
        elif option.get("type") != "null" and option.keys() != {"required"}:
            parts.append(f"Or: {kind(option)}.\n")
    if not {"properties", "anyOf", "oneOf"} & schema.keys():
        parts.append(f"{kind(schema).capitalize()}.\n")
    return "\n".join(parts)


def references(schema: Any) -> Iterator[str]:
    """Names of the definitions that ``schema`` refers to, in order."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rsplit("/", 1)[-1]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def spec_page(title: str, introduction: str, schema: Schema) -> str:
    """The page of one kind of spec: the top level, then each definition where it is first needed."""
    definitions: dict[str, Schema] = schema.get("$defs", {})
    top = {key: value for key, value in schema.items() if key != "$defs"}
    order: list[str] = []
    queue = list(references(top))
    while queue:
        name = queue.pop(0)
        if name not in order:
            order.append(name)
            queue = [*references(definitions[name]), *queue]
    parts = [f"# {title}\n", f"{introduction}\n", definition(top)]
    for name in order:
        parts += [f"## {section(name)}\n", definition(definitions[name])]
    return "\n".join(parts)


def workload_page() -> str:
    """Reference of the workload spec."""
    from blis.spec.schema import workload_schema

    text = (
        "A workload says who sends which requests when. It is YAML; times are whole microseconds or text with a unit "
        "(`90s`, `1.5ms`), rates are requests per second. `blis schema workload` prints the JSON schema that this page "
        "is made from, for editors.\n\nUnknown keys are errors, and all problems of a file are reported at once. Where "
        "the unit is *as drawn*, it is that of the place where the distribution stands: tokens, items of a request, "
        "rounds, microseconds, or none for a share. *None* as a default means that the key is absent, or `null`."
    )
    return spec_page("Workload spec", text, workload_schema())


def deployment_page() -> str:
    """Reference of the deployment spec."""
    from blis.spec.schema import deployment_schema

    text = (
        "A deployment says what serves the requests. Every key has a default, so an empty one is an instance of "
        "llama-3.1-8b on one H100. `blis schema deployment` prints the JSON schema that this page is made from."
    )
    return spec_page("Deployment spec", text, deployment_schema())


def server_page() -> str:
    """Reference of a server's config."""
    from blis.spec.schema import server_schema

    text = (
        "What `blis observe --server-config FILE` and `blis.observe` take: where a server is, and how it is spoken to. "
        "Each key has a [flag](cli.md#blis-observe), which wins over the file. `blis schema server` prints the JSON "
        "schema that this page is made from."
    )
    return spec_page("Server config", text, server_schema())


# Models and GPUs.


def catalogue_page() -> str:
    """Table of the models and GPUs that are known by name."""
    from blis.spec.catalogue import gpu, gpu_names, model, model_names

    shapes = [model(name) for name in model_names()]
    models = [
        (
            f"`{shape.name}`",
            *(str(number) for number in (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.ffn)),
            f"{shape.experts} ({shape.active_experts} active)" if shape.experts else "",
            str(shape.max_model_len),
        )
        for shape in shapes
    ]
    gpus = [
        (
            f"`{chip.name}`",
            f"{chip.peak_tflops:g}",
            f"{chip.peak_fp8_tflops:g}" if chip.peak_fp8_tflops else "",
            f"{chip.bandwidth_tbs:g}",
            f"{chip.memory_gib:g}",
            f"{chip.link_gbs:g}",
            f"{chip.mfu_prefill:g} / {chip.mfu_decode:g}",
        )
        for chip in (gpu(name) for name in gpu_names())
    ]
    model_head = ("name", "layers", "hidden", "heads", "KV heads", "FFN", "experts", "context")
    gpu_head = ("name", "TFLOP/s", "FP8 TFLOP/s", "TB/s", "GiB", "link GB/s", "MFU prefill / decode")
    return (
        "# Models and GPUs\n\nNames that a deployment may use, in any letter case; an organisation in front of a "
        "model's name is ignored.\n\n## Models\n\nShapes come from the models' public `config.json`. For any other "
        "model, set `model` to the path of its `config.json`.\n\n"
        + table(model_head, models)
        + "\n## GPUs\n\nPeak rates are dense, for bf16 and FP8; the link to the other GPUs is counted one way.\n\n"
        + table(gpu_head, gpus)
    )


# The command line.


EXITS = """\
| exit code | meaning |
| --- | --- |
| 0 | success |
| 2 | a mistake in the input, explained on standard error |
| 3 | all went well, but the result misses what a flag asks of it |
| 70 | a bug in blis |
| 130 | interrupted from the keyboard |
| 141 | standard output was closed |
"""


def cli_page() -> str:
    """Every command with its flags."""
    import typer

    from blis.cli import app

    root: Any = typer.main.get_command(app)
    parts = [f"# Command line\n\n{prose(root.help)}\n\n`python -m blis` does the same as `blis`.\n", EXITS]
    for name, command in leaves(root):
        parts.append(f"## blis {name}\n\n{prose(command.help)}\n")
        panels: dict[str, list[tuple[str, ...]]] = {}
        for item in command.params:
            if not item.hidden:
                panels.setdefault(item.rich_help_panel or "", []).append(parameter(item))
        for panel, rows in sorted(panels.items(), key=lambda entry: bool(entry[0])):
            parts += [f"### {panel}\n"] if panel else []
            parts.append(table(("argument or flag", "value", "meaning"), rows))
    return "\n".join(parts)


def leaves(group: Any) -> Iterator[tuple[str, Any]]:
    """The commands of a group and of the groups in it, by all their names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", leaf) for inner, leaf in leaves(command))
        else:
            yield name, command


def parameter(item: Any) -> tuple[str, ...]:
    """The row of an argument or flag: its names, what it takes, its help."""
    argument = item.param_type_name == "argument"
    names = (item.metavar or item.name.upper()) if argument else ", ".join([*item.opts, *item.secondary_opts])
    value = "" if argument or getattr(item, "is_flag", False) else f"`{item.metavar or item.name.upper()}`"
    return (f"`{names}`", value, item.help or "")


def scenarios_page() -> str:
    """The scenarios that come with blis, and why they are as they are."""
    from blis.spec.scenarios import SCENARIOS, about

    introduction = (
        "# Scenarios\n\nTypical kinds of traffic. `blis simulate --workload NAME` runs one, at its own rate"
        " or at `--rate`, and `blis convert preset NAME` writes it as a file to change.\n"
    )
    return "\n".join([introduction, *(f"## {name}\n\n{about(name)}\n" for name in SCENARIOS)])


PAGES: dict[str, Callable[[], str]] = {
    "workload.md": workload_page,
    "deployment.md": deployment_page,
    "server.md": server_page,
    "catalogue.md": catalogue_page,
    "scenarios.md": scenarios_page,
    "cli.md": cli_page,
}


def main() -> int:
    """Write the pages, or say which are out of date."""
    check = sys.argv[1:] == ["--check"]
    stale = 0
    for name, build in PAGES.items():
        path = REFERENCE / name
        text = NOTE + build()
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            print(f"docs/reference/{name} isn't what the code says: run 'make docs'")
            stale = 1
        if not check:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
