# SPDX-License-Identifier: MIT
"""Who may import whom, and who may have effects? See docs/architecture.md."""

import ast
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
BASE = {"errors", "model", "specs"}

AGENT = {
    "errors": set(),
    "model": set(),
    "specs": set(),
    "budget": BASE,
    "journals": BASE,
    "config": BASE | {"journals"},
    "sources": BASE | {"journals"},
    "syntax": BASE,
    "gate": BASE | {"syntax"},
    "dates": BASE | {"budget"},
    "failregex": BASE | {"syntax"},
    "formula": BASE,
    "identity": BASE,
    "gates": BASE | {"failregex", "gate"},
    "lines": BASE | {"budget", "dates", "failregex", "gate", "gates", "sessions"},
    "buffer": BASE | {"lines"},
    "sessions": BASE | {"failregex"},
    "later": set(),
    "alike": BASE | {"syntax"},
    "naming": BASE | {"failregex", "identity"},
    "shapes": BASE | {"alike", "dates", "failregex", "sessions"},
    "sweep": BASE | {"budget", "failregex", "identity", "later", "lines", "sessions", "shapes"},
    "lint": BASE | {"failregex", "filter"},
    "trace": BASE | {"failregex", "lines"},
    "trial": BASE | {"budget", "filter", "identity", "trace"},
    "reach": BASE | {"budget", "failregex", "lint"},
    "judgement": BASE
    | {"naming"}
    | {"budget", "config", "failregex", "filter", "ignore", "lines", "protected", "reach"}
    | {"trace"},
    "audit": BASE | {"config", "inspection", "intake", "lint", "sources", "trial"},
    "extract": BASE | {"failregex", "filter", "firewall"},
    "ignore": BASE,
    "entries": BASE,
    "schema": BASE,
    "ledger": BASE | {"entries", "pages", "salvage", "schema"},
    "pages": BASE,
    "salvage": BASE | {"entries", "pages"},
    "firewall": BASE,
    "control": set(),
    "control.rows": set(),
    "control.protocol": BASE | {"control.rows"},
    "control.allowance": set(),
    "control.access": BASE,
    "control.server": BASE
    | {"control.access", "control.allowance", "control.protocol", "control.rows"},
    "control.client": BASE | {"control.protocol"},
    "filter": BASE
    | {"budget", "buffer", "dates", "failregex", "gate", "identity", "lines", "naming"}
    | {"sessions", "shapes", "sweep", "trace"},
    "counts": BASE,
    "escalation": BASE | {"formula"},
    "jail": BASE | {"counts", "escalation"},
}
AGENT |= {
    "heap": BASE,
    "plain": BASE,
    "loop": BASE,
    "notify": BASE,
    "resolver": BASE,
    "outlets": BASE | {"plain"},
    "log": BASE | {"outlets"},
    "table": BASE | {"plain", "control.protocol"},
    "prefixes": BASE | {"ignore", "jail"},
    "protected": BASE | {"ignore", "peers"},
    "peers": BASE | {"firewall", "plain"},
    "records": BASE | {"ledger", "log"},
    "inspection": BASE | {"filter", "firewall", "jail", "resolver"},
    "enforcement": BASE | {"firewall", "log", "records"},
    "healing": BASE | {"enforcement", "firewall", "log"},
    "intake": BASE | {"journals", "sources"},
    "ignorecommand": BASE | {"firewall"},
    "shelter": BASE | {"ignore", "log", "protected", "resolver"},
    "guard": BASE
    | {"budget", "escalation", "ignorecommand", "filter", "jail", "log", "naming"}
    | {"prefixes", "protected", "resolver", "shelter"},
    "guards": BASE | {"config", "guard", "inspection", "log"},
    "outcomes": BASE | {"control.protocol", "firewall", "log"},
    "actions": BASE
    | {"config", "control.protocol", "firewall", "guard", "ignorecommand", "log", "outcomes"}
    | {"records", "resolver"},
    "pauses": set(),
    "pausefile": BASE | {"log", "pauses"},
    "brake": BASE | {"guard", "ignore", "log", "pausefile", "pauses", "records"},
    "status": BASE
    | {
        "brake",
        "control.protocol",
        "control.rows",
        "enforcement",
        "guard",
        "guards",
        "healing",
        "intake",
    }
    | {"plain", "protected"},
}
AGENT["pipe"] = set(AGENT)
AGENT["options"] = BASE | {"config", "guard", "intake", "log", "pipe"}
AGENT["answers"] = BASE | {"control.protocol", "guard", "ignore", "options", "pauses", "pipe"}
AGENT["daemon"] = set(AGENT)
AGENT["cli"] = BASE | {"daemon", "config", "filter", "lint", "control.client", "control.protocol"}
AGENT["cli"] |= {"plain", "table"}
# Those of who writes filters: a line is judged, a name resolved, the journal read, at a terminal.
AGENT["cli"] |= {"audit", "extract", "failregex", "inspection", "judgement", "lines", "protected"}
AGENT["cli"] |= {"resolver", "sources", "trial"}
AGENT["__main__"] = {"cli"}

DEPLOY = {
    "errors": set(),
    "model": set(),
    **dict.fromkeys(("document", "example", "facts", "bundle", "report"), BASE),
    "ini": set(),
    "values": BASE | {"document"},
    "patterns": BASE | {"document"},
    "variables": BASE | {"document", "ini", "values"},
    "groups": BASE | {"document", "patterns", "values", "variables"},
    "inventory": BASE | {"document", "groups", "patterns", "variables"},
    "roles": BASE | {"document", "values"},
    "render": BASE | {"document", "ini"},
    "converge": set(),
    "tree": BASE | {"document", "roles", "variables"},
    "plan": BASE
    | {"document", "ini", "inventory", "render", "roles", "tree", "values", "variables"},
    **{name: BASE | {"bundle"} for name in ("bootstrap", "remote")},
    "push": BASE | {"bundle", "bootstrap", "remote", "facts"},
}
DEPLOY["cli"] = set(DEPLOY)
DEPLOY["__main__"] = {"cli"}
DEPLOY_MAY_ASK_AGENT = {"config", "control.protocol", "errors", "filter", "gate", "model"}
DEPLOY_MAY_ASK_AGENT |= {"inspection", "specs"}

# Third-party library -> the one module of the controller that it enters through.
GATES = {
    "pyinfra": {"bootstrap"},
    "gevent": {"bootstrap"},
    "paramiko": {"remote"},
    "rich": {"report", "cli"},
    "typer": {"cli"},
    "yaml": {"document"},
    "pydantic": {"document", "roles"},
    "jinja2": {"render"},
}
# Effect -> the agent's modules that may have it.
EFFECTS = {
    "subprocess": {"firewall", "sources"},
    "sqlite3": {"ledger", "salvage", "schema"},
    "socket": {
        "control.access",
        "control.server",
        "control.client",
        "notify",
        "outlets",
        "resolver",
        "firewall",
    },
    # The budget asks how long the processor was at work, not what time it is.
    "time": {"budget", "daemon", "cli"},
    "argparse": {"cli"},
}


def imports(path):
    """Return the dotted names that a module imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def unit(dotted, contract):
    """Return the contract's name for a module: ``firewall.nftables`` is ``firewall``."""
    parts = dotted.split(".")
    for length in (2, 1):
        name = ".".join(parts[:length])
        if name in contract:
            return name
    return parts[0]


def modules(package, contract):
    root, found = ROOT / package, []
    for path in sorted(root.rglob("*.py")):
        dotted = ".".join(path.relative_to(root).with_suffix("").parts)
        dotted = dotted.removesuffix(".__init__")
        if dotted != "__init__":
            found.append(pytest.param(path, unit(dotted, contract), id=f"{root.name}.{dotted}"))
    return found


@pytest.mark.parametrize("path, name", modules("agent/stockade_agent", AGENT))
def test_agent_imports_point_one_way(path, name):
    """A module of the agent imports only what stands before it in the pipe."""
    ours = {
        n.removeprefix("stockade_agent.") for n in imports(path) if n.startswith("stockade_agent.")
    }
    units = {unit(n, AGENT) for n in ours if unit(n, AGENT) in AGENT}

    assert name in AGENT, f"{path} is not in the contract"
    assert set() == units - AGENT[name] - {name}
    assert not any(n.split(".")[0] == "stockade" for n in imports(path))


@pytest.mark.parametrize("path, name", modules("deploy/stockade", DEPLOY))
def test_deploy_imports_point_one_way(path, name):
    """A module of the controller imports only what stands before it in the pipe."""
    found = imports(path)
    ours = {n.removeprefix("stockade.") for n in found if n.startswith("stockade.")}
    units = {unit(n, DEPLOY) for n in ours if unit(n, DEPLOY) in DEPLOY}
    agents = {n.removeprefix("stockade_agent.") for n in found if n.startswith("stockade_agent.")}
    asked = {unit(n, DEPLOY_MAY_ASK_AGENT) for n in agents} - {"__version__"}

    assert name in DEPLOY, f"{path} is not in the contract"
    assert set() == units - DEPLOY[name] - {name}
    assert set() == asked - DEPLOY_MAY_ASK_AGENT - {"__file__"}


@pytest.mark.parametrize("path, name", modules("deploy/stockade", DEPLOY))
def test_libraries_enter_by_one_module(path, name):
    """Each third-party library is imported by the module that stands for it, and no other."""
    for library, gates in GATES.items():
        if any(n.split(".")[0] == library for n in imports(path)):
            assert name in gates, f"{path} imports {library}"


@pytest.mark.parametrize("path, name", modules("agent/stockade_agent", AGENT))
def test_effects_have_their_place(path, name):
    """Processes, sockets, the clock, sqlite: each is asked by the module that owns it."""
    for library, owners in EFFECTS.items():
        if any(n.split(".")[0] == library for n in imports(path)):
            assert name in owners, f"{path} imports {library}"
