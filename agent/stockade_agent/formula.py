# SPDX-License-Identifier: MIT
"""Arithmetic that configuration files may contain, computed without ever running it as code.

fail2ban hands ``bantime.formula`` and ``bantime.factor`` to Python's ``eval``. The same
formulas work here because they are parsed with Python's own grammar; but what is then
computed is a closed list of operations on numbers, so a formula can neither reach a name
nor call a function that is not in this module.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Mapping
from typing import Callable, Union

from stockade_agent.errors import RegexError


Number = Union[int, float]

MAX_LENGTH = 1000
MAX_POWER = 64
"""The largest exponent and shift: enough for any ban time, too small to exhaust memory."""

_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "exp": math.exp,
    "float": float,
    "floor": math.floor,
    "int": int,
    "log": math.log,
    "max": max,
    "min": min,
    "round": round,
    "sqrt": math.sqrt,
}
_COMPARISONS: dict[type, Callable[[Number, Number], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def _bounded(operation: Callable[[Number, Number], Number]) -> Callable[[Number, Number], Number]:
    def compute(base: Number, exponent: Number) -> Number:
        if abs(exponent) > MAX_POWER:
            raise ArithmeticError(f"{exponent} is too large an exponent")
        return operation(base, exponent)

    return compute


_OPERATIONS: dict[type, Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _bounded(operator.pow),
    ast.LShift: _bounded(operator.lshift),
    ast.RShift: _bounded(operator.rshift),
}


class Formula:
    """An arithmetic expression over named numbers, parsed once.

    Args:
        text: numbers, ``+ - * / // % ** << >>``, comparisons, ``a if c else b``, ``and or
            not``, the functions of this module (also as ``math.exp``), and names.
        names: the names that ``compute`` will be given; dotted ones such as ``ban.Time``.

    Raises:
        RegexError: anything else is in it.
    """

    def __init__(self, text: str, *, option: str, names: frozenset[str] = frozenset()) -> None:
        self.text, self._option, self._names = text, option, names
        if len(text) > MAX_LENGTH:
            raise RegexError(f"longer than {MAX_LENGTH} characters", option=option)
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            place = getattr(exc, "offset", None)
            raise RegexError(
                f"not an arithmetic expression: {text!r}", option=option, position=place
            ) from exc
        self._check(self._tree)

    def compute(self, values: Mapping[str, Number]) -> Number:
        """Return the number.

        Raises:
            RegexError: it cannot be computed with these values (division by zero, overflow).
        """
        try:
            return self._value(self._tree, values)
        except (ArithmeticError, TypeError, ValueError) as exc:
            raise RegexError(
                f"{self.text!r} with {dict(values)}: {exc}", option=self._option
            ) from exc

    def _check(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant):
            known = isinstance(node.value, (int, float))
        elif isinstance(node, (ast.Name, ast.Attribute)):
            known = _dotted(node) in self._names
        elif isinstance(node, ast.BinOp):
            known = type(node.op) in _OPERATIONS
        elif isinstance(node, ast.UnaryOp):
            known = isinstance(node.op, (ast.UAdd, ast.USub, ast.Not))
        elif isinstance(node, ast.Compare):
            known = all(type(op) in _COMPARISONS for op in node.ops)
        elif isinstance(node, ast.Call):
            known = _function(node) in _FUNCTIONS and not node.keywords
        else:
            known = isinstance(node, (ast.IfExp, ast.BoolOp))
        if not known:
            segment = ast.get_source_segment(self.text.strip(), node) or self.text
            raise RegexError(
                f"{segment!r} is not allowed in an arithmetic expression",
                option=self._option,
                position=node.col_offset,
            )
        for child in _operands(node):
            self._check(child)

    def _value(self, node: ast.expr, values: Mapping[str, Number]) -> Number:
        if isinstance(node, ast.Constant):
            return node.value  # type: ignore[return-value]  # _check let numbers through only
        if isinstance(node, (ast.Name, ast.Attribute)):
            return values[_dotted(node)]
        if isinstance(node, ast.IfExp):
            return self._value(node.body if self._value(node.test, values) else node.orelse, values)
        if isinstance(node, ast.BoolOp):
            stop = isinstance(node.op, ast.Or)
            result: Number = 0
            for operand in node.values:
                result = self._value(operand, values)
                if bool(result) is stop:
                    break
            return result
        operands = [self._value(child, values) for child in _operands(node)]
        if isinstance(node, ast.BinOp):
            return _OPERATIONS[type(node.op)](*operands)
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not):
                return not operands[0]
            return -operands[0] if isinstance(node.op, ast.USub) else operands[0]
        if isinstance(node, ast.Compare):
            pairs = zip(node.ops, operands, operands[1:])
            return all(_COMPARISONS[type(op)](a, b) for op, a, b in pairs)
        assert isinstance(node, ast.Call)  # noqa: S101 - _check let nothing else through
        return _FUNCTIONS[_function(node)](*operands)


def _operands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        return node.args
    if isinstance(node, ast.Attribute):
        return []
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def _function(node: ast.Call) -> str:
    name = _dotted(node.func)
    return name.removeprefix("math.")
