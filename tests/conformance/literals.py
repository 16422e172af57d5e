# SPDX-License-Identifier: MIT
"""Tables that stand in fail2ban's own tests, read from their source without running it."""

import ast
import operator
import warnings
from pathlib import Path
from typing import Any


_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub}


class Missing(Exception):
    """The table is not where it was."""


def function(path: Path, name: str) -> ast.FunctionDef:
    """Return a test of a file.

    Raises:
        Missing: the tree has no such file, or the file no such test.
    """
    if not path.is_file():
        raise Missing(f"{path} is not there: a git tree of fail2ban (FAIL2BAN=DIR) has it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in its strings that Python has not
        tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise Missing(f"{path} has no {name}")


def looped(path: Path, name: str) -> list[tuple[Any, ...]]:
    """Return the rows that the first loop of a test goes through."""
    for node in ast.walk(function(path, name)):
        if isinstance(node, ast.For):
            rows: list[tuple[Any, ...]] = list(value(node.iter))
            return rows
    raise Missing(f"{path}: {name} has no loop")


def assigned(path: Path, name: str, variable: str) -> Any:
    """Return what a test assigns to a variable."""
    for node in ast.walk(function(path, name)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable:
            return value(node.value)
    raise Missing(f"{path}: {name} has no {variable}")


def value(node: ast.expr) -> Any:
    """Return what an expression of literals says; sums and differences of them are allowed."""
    if isinstance(node, ast.Tuple):
        return tuple(map(value, node.elts))
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](value(node.left), value(node.right))
    return ast.literal_eval(node)
