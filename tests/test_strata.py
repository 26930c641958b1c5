"""The rooms of the package, floor above floor; tests that import no tests; and how large things may be. Read with `ast`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import ROOT, TESTS

PACKAGE = ROOT / "ffrecur"
# From the ground up; rooms of one line share a floor. Whatever is not named, such as `main` and `hub`, stands on top.
FLOORS = [
    "errors seeding processes functional bars",
    "core",
    "text",
    "nets",
    "negatives storage",
    "metrics data",
    "pages",
    "lit",
    "commands",
]
MAX_LINES, MAX_FUNCTION, MAX_ARGUMENTS = 300, 60, 13

# to go: what breaks a rule today; a mended one must leave the list
UPWARD: set[tuple[str, str]] = set()
CIRCLES: set[frozenset[str]] = set()
LONG_FILES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()
LONG_SIGNATURES: set[str] = set()


def module_of(path: Path) -> str:
    """The dotted name of a file below the root."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
CHECKED = [*MODULES.values(), *sorted((ROOT / "scripts").rglob("*.py"))]


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, in functions and for type checkers too; of names, the modules that they are."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


INSIDE = {
    module: {name for name in imports_of(path) if name in MODULES and name != module}
    for module, path in MODULES.items()
}


def floor(module: str) -> int:
    """The floor of a module's room, from 0."""
    room = (*module.split(".")[1:], "")[0]
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms.split()), len(FLOORS))


def test_no_room_imports_one_above_it():
    upward = {(one, other) for one, imported in INSIDE.items() for other in imported if floor(other) > floor(one)}
    assert upward == UPWARD


def test_there_is_no_circle():
    """Modules that import one another, by way of others too."""
    assert circles(INSIDE) == CIRCLES


def circles(imports: dict[str, set[str]]) -> set[frozenset[str]]:
    """Sets of modules each of which reaches every other."""
    reached = {module: set(imported) for module, imported in imports.items()}
    for between in reached:
        for found in reached.values():
            if between in found:
                found |= reached[between]
    within = [module for module in reached if module in reached[module]]
    return {
        frozenset(other for other in within if other in reached[module] and module in reached[other])
        for module in within
    }


def test_circles_are_found():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert circles(imports) == {frozenset({"b", "c"})}


@pytest.mark.parametrize(("module", "number"), [("ffrecur.core.sweep", 1), ("ffrecur.hub", 9), ("ffrecur", 9)])
def test_floors(module, number):
    assert module in MODULES
    assert floor(module) == number


def test_every_room_has_a_floor():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(" ".join(FLOORS).split())


def test_nothing_but_tests_and_scripts_imports_the_reference():
    assert [module for module, imported in INSIDE.items() if "ffrecur.core.reference" in imported] == []


TEST_FILES = sorted(TESTS.rglob("*.py"))


def test_no_test_imports_from_a_test():
    """Nor from conftest: what several need is in `making.py`, `running.py`, `launching.py`, or beside them."""
    tests = {path.stem for path in TEST_FILES if path.stem.startswith("test_")} | {"conftest"}
    for path in TEST_FILES:
        for name in imports_of(path):
            assert tests.isdisjoint(name.split(".")), f"{path.name} imports {name}"


def test_tests_have_names_of_their_own():
    """pytest and mypy know a file in a folder without `__init__.py` by its name alone."""
    stems = [path.stem for path in TEST_FILES]
    assert sorted(stems) == sorted(set(stems))


def functions_of(path: Path) -> Iterator[tuple[str, bool, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of a file by its name, and whether it is a method."""

    def walk(
        node: ast.AST, name: str, of_class: bool
    ) -> Iterator[tuple[str, bool, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{name}.{child.name}"
                if not isinstance(child, ast.ClassDef):
                    yield inner, of_class, child
                yield from walk(child, inner, isinstance(child, ast.ClassDef))
            else:
                yield from walk(child, name, of_class)

    yield from walk(ast.parse(path.read_text()), module_of(path), False)


def arguments_of(function: ast.FunctionDef | ast.AsyncFunctionDef, method: bool) -> int:
    """The number of arguments that a caller may give."""
    arguments, static = function.args, any(getattr(d, "id", "") == "staticmethod" for d in function.decorator_list)
    count = len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
    count += (arguments.vararg is not None) + (arguments.kwarg is not None)
    return count - (method and not static)


def test_no_file_is_too_long():
    assert {module_of(path) for path in CHECKED if len(path.read_text().splitlines()) > MAX_LINES} == LONG_FILES


def test_no_function_is_too_long():
    found = {
        name
        for path in CHECKED
        for name, _, function in functions_of(path)
        if (function.end_lineno or 0) - function.lineno + 1 > MAX_FUNCTION
    }
    assert found == LONG_FUNCTIONS


def test_no_signature_is_too_long():
    """But for the constructors of Lightning modules and data modules, whose arguments are the command line's."""
    found = {
        name
        for path in CHECKED
        for name, method, function in functions_of(path)
        if arguments_of(function, method) > MAX_ARGUMENTS
        and not (function.name == "__init__" and path.parent in (PACKAGE / "lit", PACKAGE / "data"))
    }
    assert found == LONG_SIGNATURES
