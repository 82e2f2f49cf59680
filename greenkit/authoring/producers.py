"""What produced a kept result: its cells and the functions that they call, one hash each.

A record keeps these hashes beside its results, so that a result is stale only where its own
producers changed, and the cause has a name. Claims, prints, tables, plots, docstrings, comments
and formatting are no producers. Nor are guards, which raise or do nothing: a result that was kept
passed them. Nor is what carries a file whose hash is pinned from the network into memory.

The data flow is that of names: a cell depends on the earlier cells that bind or change a name
which it reads. Functions are followed through `greenkit` by the names in their source; where one
belongs to `metering` it counts, and what lies below it does not, so that a record outlives a
meter that reads the same joules in another way.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from greenkit.authoring.cells import Cell
from greenkit.inputs.gguf import quiet

CARRIERS = {"lab", "gk", "greenkit"}
REFUSING = ("refuse_", "_refuse_")
TELLING = {"claim", "decide", "exercise", "predict", "show"}
UNRELATED_ROOMS = {"authoring", "cli", "course", "plot"}
LEAF_ROOMS = {"metering"}
CARRYING_MODULES = {"greenkit.inputs.cache", "greenkit.inputs.fetching"}
CARRYING = {
    "greenkit.inputs.gguf.quiet",
    "greenkit.inputs.models._ask_hub",
    "greenkit.inputs.models._first",
    "greenkit.inputs.models._folder",
    "greenkit.inputs.models._hub",
    "greenkit.inputs.models._import_transformers",
    "greenkit.inputs.models._looks_like_folder",
    "greenkit.inputs.models._read",
}
DIGITS = 10

Parts = dict[str, str]


def producers(cells: Sequence[Cell], wanted: Iterable[str] | None = None) -> dict[str, Parts]:
    """By cell id, a hash of each cell and function behind what that cell makes.

    Cells are named "cell <id>", functions and constants by their full name. `wanted` holds the ids
    to look at; by default all.
    """
    trees = {cell.id: _computing(cell.source) for cell in cells}
    order = [cell.id for cell in cells]
    reads = {key: _read_names(tree) for key, tree in trees.items()}
    binds = {key: _bound_names(tree) for key, tree in trees.items()}
    imported = _imports(trees.values())
    called = {key: _called(tree, imported) for key, tree in trees.items()}
    found = {}
    for key in order if wanted is None else wanted:
        if key not in trees:
            continue
        behind = _behind(key, order, reads, binds)
        parts = {f"cell {each}": _digest(_shape(trees[each])) for each in behind}
        found[key] = parts | _functions([target for each in behind for target in called[each]])
    return found


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of producers that were not the same then.

    One that is no longer among them says nothing: whatever called it changed, or never did call it.
    """
    return sorted(name for name, digest in now.items() if then.get(name) != digest)


def _behind(
    key: str, order: Sequence[str], reads: Mapping[str, set[str]], binds: Mapping[str, set[str]]
) -> list[str]:
    """The ids of a cell and of all earlier cells that it depends on, in order."""
    found = {key}
    for each in reversed(order[: order.index(key) + 1]):
        if each in found:
            earlier = order[: order.index(each)]
            found |= {other for other in earlier if binds[other] & reads[each]}
    return [each for each in order if each in found]


class _OnlyComputing(ast.NodeTransformer):
    """Leaves out statements that only tell: claims, prints, tables and plots."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        call = node.value
        if isinstance(call, ast.Call) and _tells(call.func):
            return None
        return self.generic_visit(node)


class _WithoutGuards(ast.NodeTransformer):
    """Leaves out statements that raise or do nothing, and handlers that only raise another way.

    It runs last: a body that is empty by then gets a `pass`.
    """

    def visit_If(self, node: ast.If) -> ast.AST | None:
        binds = any(isinstance(each, ast.NamedExpr) for each in ast.walk(node.test))
        if _only_raises(node.body) and not node.orelse and not binds:
            return None
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        call = node.value
        if isinstance(call, ast.Call):
            name = ast.unparse(call.func).rpartition(".")[2]
            if name.startswith(REFUSING):
                return None
        return self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> ast.AST | list[ast.stmt]:
        found = self.generic_visit(node)
        assert isinstance(found, ast.Try)
        plain = not found.orelse and not found.finalbody
        if plain and all(_only_raises(handler.body) for handler in found.handlers):
            return found.body
        return found

    def generic_visit(self, node: ast.AST) -> ast.AST:
        found = super().generic_visit(node)
        if getattr(found, "body", None) == []:
            found.body = [ast.Pass()]  # type: ignore[attr-defined]
        return found


def _only_raises(body: Sequence[ast.stmt]) -> bool:
    return all(isinstance(statement, ast.Raise) for statement in body)


def _tells(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "print"
    chain = ast.unparse(function).split(".")
    if chain[:2] == ["gk", "plot"]:
        return True
    return chain[0] == "lab" and len(chain) > 1 and chain[1].partition("_")[0] in TELLING


def _computing(source: str) -> ast.Module:
    tree = ast.parse(source)
    _OnlyComputing().visit(tree)
    _WithoutGuards().visit(tree)
    return tree


def _read_names(tree: ast.AST) -> set[str]:
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return names - CARRIERS


def _bound_names(tree: ast.AST) -> set[str]:
    """Names that a cell gives a value or changes in place; not those that it only imports."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            bound |= _base(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            bound |= _base(node.value.func)
    return bound - CARRIERS


def _base(node: ast.expr) -> set[str]:
    """The name before the first dot or bracket; none for a plain name."""
    below = node
    while isinstance(below, ast.Attribute | ast.Subscript):
        below = below.value
    return {below.id} if isinstance(below, ast.Name) and below is not node else set()


def _imports(trees: Iterable[ast.AST]) -> dict[str, Any]:
    """What the names that cells import from greenkit stand for."""
    import greenkit

    names: dict[str, Any] = {"gk": greenkit, "greenkit": greenkit}
    for tree in trees:
        names |= _imported(tree)
    return names


def _imported(tree: ast.AST) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("greenkit"):
            wanted = [alias.name for alias in node.names]
            with quiet():  # transformers imports libraries that talk
                module = __import__(node.module or "", fromlist=wanted)  # submodules included
            names |= {a.asname or a.name: getattr(module, a.name) for a in node.names}
    return names


def _called(tree: ast.AST, names: Mapping[str, Any]) -> list[Any]:
    """The greenkit functions and classes that a piece of code names, and simple constants."""
    found = []
    for node in ast.walk(tree):
        target = _resolve(node, names)
        if target is not None and not inspect.ismodule(target):
            found.append(target)
    return found


def _resolve(node: ast.AST, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value, names)
        if inspect.ismodule(owner) and owner.__name__.startswith("greenkit"):
            return getattr(owner, node.attr, None)
    return None


def _functions(targets: Sequence[Any]) -> Parts:
    """Greenkit functions and classes and all that they name, transitively, with a hash each."""
    parts: Parts = {}
    waiting = list(targets)
    while waiting:
        own = inspect.unwrap(waiting.pop())
        name = _name(own)
        if name is None or name in parts:
            continue
        tree = _source(own)
        parts[name] = _digest(_shape(tree))
        if _room(own) in LEAF_ROOMS:
            continue
        known = vars(sys.modules[own.__module__]) | _imported(tree)
        for node in _walk_what_runs(tree):
            other = _resolve(node, known)
            if isinstance(node, ast.Name) and isinstance(other, int | float | str | tuple):
                parts[f"{own.__module__}.{node.id}"] = _digest(repr(other))
            elif inspect.isfunction(other) or inspect.isclass(other):
                waiting.append(other)
    return parts


def _walk_what_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of annotations, which name types and call nothing."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns"):
                children = value if isinstance(value, list) else [value]
                waiting += [child for child in children if isinstance(child, ast.AST)]


def _name(target: Any) -> str | None:
    """The full name of a function or class of greenkit that computes, else None."""
    if not (inspect.isfunction(target) or inspect.isclass(target)):
        return None
    if not target.__module__.startswith("greenkit.") or _room(target) in UNRELATED_ROOMS:
        return None
    name = f"{target.__module__}.{target.__qualname__}"
    return None if name in CARRYING or target.__module__ in CARRYING_MODULES else name


def _room(target: Any) -> str:
    return str(target.__module__).split(".")[1]


@functools.cache
def _source(target: Any) -> ast.Module:
    tree = ast.parse(textwrap.dedent(inspect.getsource(target)))
    _WithoutGuards().visit(tree)
    return tree


def _shape(node: Any) -> str:
    """A tree as text that formatting, docstrings and the version of Python do not change."""
    if isinstance(node, ast.AST):
        fields = []
        for field, value in ast.iter_fields(node):
            if field == "body" and isinstance(value, list):
                value = list(_without_docstring(node, value))
            if value not in (None, []) and field not in ("ctx", "kind", "type_comment"):
                fields.append(f"{field}={_shape(value)}")
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_shape, node))}]"
    return repr(node)


def _without_docstring(owner: ast.AST, body: list[Any]) -> Iterator[Any]:
    documented = isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    for place, statement in enumerate(body):
        is_text = (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
        if not (documented and place == 0 and is_text):
            yield statement


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
