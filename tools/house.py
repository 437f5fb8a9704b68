"""Counts what makes the house hard to read: `tools/house.py [--repo DIR] [--compare DIR] [--json] [--list MEASURE]`.

Every measure is a function from a checkout to the places that it counts, so tests hold the same figures as ceilings.
The layout is read from `package-dir` in pyproject.toml, so the script counts older checkouts as well.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRODUCT = ("src", "roles", "modules")
EVERYTHING = (*PRODUCT, "deploy", "tests", "tools")
LONGEST_LINE = 120
DIALECT = ("found", "now", "each", "told", "well", "words")  # names that the field has better words for

ONE_MEANING = frozenset(("Settings",))  # every role calls its settings so

# A docstring that begins with one of these has no subject: "Of the kind: ...", "What it says", "Where the files lie".
# Determiners ("This module reads", "All hosts that") and the conjunctions "if" and "whether" are not in the lists.
PREPOSITIONS = """
about above across after against along among around as at before behind below beneath beside besides between beyond by
despite down during except for from in inside into like near of off on onto out outside over past per since through
throughout till to toward towards under underneath until unto up upon via with within without"""
PRONOUNS = """
he her hers herself him himself his i it its itself me mine my myself our ours ourselves she their theirs them
themselves they us we what whatever whichever who whoever whom whomever whose you your yours yourself anybody anyone
anything everybody everyone everything nobody none nothing somebody someone something"""
QUESTION_WORDS = "how when whence where which why"
SUBJECTLESS = frozenset(" ".join((PREPOSITIONS, PRONOUNS, QUESTION_WORDS, "raise raises")).split())
# "Those that run", "These are the unit's": a demonstrative without a noun is a pronoun
POINTING = re.compile(r"(that|these|this|those)(,| (are|in|is|of|on|that|was|were|which|who|whose|with)\b)", re.I)


@dataclass(frozen=True)
class Module:
    """One Python file: where it lies in the checkout, the dotted name it is imported by, and its text."""

    path: str  # relative to the checkout, with forward slashes
    name: str  # empty for a file outside every package, such as a test
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Return the syntax tree of the file. Raises SyntaxError with the path."""
        return ast.parse(self.text, self.path)

    @property
    def top(self) -> str:
        """Name the top-level folder of the checkout that holds the file."""
        return self.path.split("/")[0]

    @property
    def is_package(self) -> bool:
        """Tell a package's `__init__.py` from other files."""
        return self.path.endswith("/__init__.py")


@dataclass(frozen=True)
class Import:
    """One import inside the checkout, from module to module, by dotted names."""

    importer: str
    imported: str
    line: int
    is_typing: bool  # stands under `if TYPE_CHECKING:`, so nothing is loaded when the program runs


@dataclass(frozen=True)
class Checkout:
    """The Python files of one checkout, with the folders that pyproject.toml maps to packages."""

    modules: tuple[Module, ...]
    package_dirs: dict[str, str]  # package name -> folder relative to the checkout

    def within(self, tops: Iterable[str]) -> list[Module]:
        """Select the modules below these top-level folders."""
        return [module for module in self.modules if module.top in tops]

    @cached_property
    def names(self) -> dict[str, Module]:
        """Map dotted names to modules."""
        return {module.name: module for module in self.modules if module.name}

    @cached_property
    def imports(self) -> list[Import]:
        """List the imports between modules of packages, those inside functions too."""
        return [link for module in self.names.values() for link in _imports_of(module, self.names)]

    def room(self, name: str) -> str:
        """Name the room of a module: its package; a loose file of a product's top package is a room of its own."""
        module = self.names[name]
        package = name if module.is_package else name.rpartition(".")[0]
        loose = not module.is_package and self.package_dirs.get(package, "").startswith("src/")
        return name if loose else package


def read_checkout(repo: Path = ROOT) -> Checkout:
    """Read the Python files below the known top-level folders. Raises OSError where pyproject.toml is missing."""
    settings = tomllib.loads((repo / "pyproject.toml").read_text())
    package_dirs = dict(settings["tool"]["setuptools"]["package-dir"])
    modules = []
    for top in EVERYTHING:
        for path in sorted((repo / top).rglob("*.py")):
            relative = path.relative_to(repo).as_posix()
            modules.append(Module(relative, _dotted_name(relative, package_dirs), path.read_text()))
    return Checkout(tuple(modules), package_dirs)


def _dotted_name(path: str, package_dirs: dict[str, str]) -> str:
    for package, folder in sorted(package_dirs.items(), key=lambda pair: -len(pair[1])):
        if path.startswith(folder + "/"):
            parts = path[len(folder) + 1 : -len(".py")].split("/")
            return ".".join((package, *(part for part in parts if part != "__init__")))
    return ""


def _imports_of(module: Module, names: dict[str, Module]) -> Iterator[Import]:
    for node, is_typing in _walk(module.tree, False):
        if isinstance(node, ast.Import):
            targets = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            targets = {name if (name := f"{base}.{alias.name}") in names else base for alias in node.names}
        else:
            continue
        for target in sorted(targets & names.keys() - {module.name}):
            yield Import(module.name, target, node.lineno, is_typing)


def _walk(node: ast.AST, is_typing: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Walk every node, and tell whether it stands under `if TYPE_CHECKING:`."""
    yield node, is_typing
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for child in node.body:
            yield from _walk(child, True)
        for child in node.orelse:
            yield from _walk(child, is_typing)
        return
    for inner in ast.iter_child_nodes(node):
        yield from _walk(inner, is_typing)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    return ".".join(package[: len(package) - node.level + 1] + ([node.module] if node.module else []))


def loose_files(checkout: Checkout, package: str) -> list[str]:
    """List the files at the top of a package that no room holds; `__init__.py` and `__main__.py` belong there."""
    folder = checkout.package_dirs.get(package)
    paths = [Path(module.path) for module in checkout.modules]
    return [str(path) for path in paths if str(path.parent) == folder and not path.name.startswith("__")]


def rooms(checkout: Checkout) -> list[str]:
    """List the packages that hold modules."""
    packages = {name if module.is_package else name.rpartition(".")[0] for name, module in checkout.names.items()}
    return sorted(packages)


def circles_of_files(checkout: Checkout, with_typing: bool = False) -> list[str]:
    """List the groups of files that import each other in a circle, one line a group."""
    edges = [(link.importer, link.imported) for link in checkout.imports if with_typing or not link.is_typing]
    return [" <-> ".join(circle) for circle in circles(edges)]


def circles_of_packages(checkout: Checkout, with_typing: bool = False) -> list[str]:
    """List the groups of rooms that import each other in a circle, one line a group."""
    links = [link for link in checkout.imports if with_typing or not link.is_typing]
    pairs = {(checkout.room(link.importer), checkout.room(link.imported)) for link in links}
    return [" <-> ".join(circle) for circle in circles(pair for pair in sorted(pairs) if pair[0] != pair[1])]


def circles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the strongly connected components of two nodes and more, each sorted; by Tarjan, without recursion."""
    following: dict[str, list[str]] = defaultdict(list)
    for start, end in edges:
        following[start].append(end)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles_seen = []
    for root in sorted(following):
        walk = [(root, iter(following[root]))] if root not in index else []
        while walk:
            node, ends = walk[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
            for end in ends:
                if end not in index:
                    walk.append((end, iter(following.get(end, ()))))
                    break
                if end in stack:
                    low[node] = min(low[node], low[end])
            else:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
                if low[node] == index[node]:
                    at = stack.index(node)
                    circle, stack = sorted(stack[at:]), stack[:at]
                    if len(circle) > 1:
                        circles_seen.append(circle)
    return sorted(circles_seen)


def function_lengths(checkout: Checkout) -> list[tuple[int, str]]:
    """List the functions of the product as (lines, place), the longest first."""
    lengths = []
    for module in checkout.within(PRODUCT):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                lengths.append((lines, f"{module.path}:{node.lineno} {node.name}"))
    return sorted(lengths, key=lambda length: (-length[0], length[1]))


def class_names_twice(checkout: Checkout) -> list[str]:
    """List the names that more than one public class of the product has, with the places of all of them."""
    places = defaultdict(list)
    for module in checkout.within(PRODUCT):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and _is_public(node.name):
                places[node.name].append(f"{module.path}:{node.lineno}")
    twice = {name: where for name, where in places.items() if len(where) > 1 and name not in ONE_MEANING}
    return [f"{name}: {', '.join(where)}" for name, where in sorted(twice.items())]


def assignments(checkout: Checkout, name: str) -> list[str]:
    """List the places of the product that bind a name: assignments, loops, `with`, walruses and comprehensions."""
    places = []
    for module in checkout.within(PRODUCT):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
                places.append(f"{module.path}:{node.lineno}")
    return places


def untyped_boundaries(checkout: Checkout) -> list[str]:
    """List the parameters and returns of public functions whose annotation is or holds `dict[str, Any]`."""
    untyped = re.compile(r"\b[Dd]ict\[str, (typing\.)?Any\]")
    places = []
    for module in checkout.within(PRODUCT):
        for function, title in _public_functions(module.tree, ""):
            given = function.args
            named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            annotations = [(arg.arg, arg.annotation) for arg in named if arg] + [("return", function.returns)]
            for part, annotation in annotations:
                if annotation is not None and untyped.search(_annotation_text(annotation)):
                    places.append(f"{module.path}:{function.lineno} {title} {part}")
    return places


def _annotation_text(annotation: ast.expr) -> str:
    """Return an annotation as it reads, without the quotes of one that is written as text."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation)


def _public_functions(
    node: ast.Module | ast.ClassDef, inside: str
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    for child in node.body:
        if isinstance(child, ast.ClassDef) and _is_public(child.name):
            yield from _public_functions(child, f"{inside}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(child.name):
            yield child, f"{inside}{child.name}"


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def public_docstrings(checkout: Checkout) -> list[tuple[str, str]]:
    """List the docstrings of the product's modules, public classes, functions and methods as (place, text)."""
    docstrings = []
    for module in checkout.within((*PRODUCT, "deploy")):
        classes = [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef) and _is_public(node.name)]
        functions = [function for function, _ in _public_functions(module.tree, "")]
        for owner in (module.tree, *classes, *functions):
            text = ast.get_docstring(owner)
            if text:
                docstrings.append((f"{module.path}:{getattr(owner, 'lineno', 1)}", text))
    return docstrings


def is_subjectless(docstring: str) -> bool:
    """Tell whether a docstring begins with a preposition, a pronoun, a question word or a bare "Raises"."""
    first = re.match(r"[A-Za-z]+(?=[\s,:;.']|$)", docstring)
    return (first is not None and first[0].lower() in SUBJECTLESS) or POINTING.match(docstring) is not None


def docstrings_without_subject(checkout: Checkout) -> list[str]:
    """List the public docstrings that have no subject, with their first line."""
    return [f"{place} {text.splitlines()[0]}" for place, text in public_docstrings(checkout) if is_subjectless(text)]


def format_skips(checkout: Checkout) -> list[str]:
    """List the lines, tests and tools included, on which formatting is switched off."""
    mark = "# fmt: " + "skip"
    return _lines(checkout, lambda line: line.rstrip().endswith(mark))


def long_lines(checkout: Checkout) -> list[str]:
    """List the lines, tests and tools included, that are longer than the project allows."""
    return _lines(checkout, lambda line: len(line) > LONGEST_LINE)


def _lines(checkout: Checkout, is_counted: Callable[[str], bool]) -> list[str]:
    return [
        f"{module.path}:{number}"
        for module in checkout.modules
        for number, line in enumerate(module.text.splitlines(), 1)
        if is_counted(line)
    ]


MEASURES: dict[str, Callable[[Checkout], list[str]]] = {
    "loose files in steelyard": partial(loose_files, package="steelyard"),
    "loose files in steelyard_host": partial(loose_files, package="steelyard_host"),
    "rooms": rooms,
    "circles of files": circles_of_files,
    "circles of files, types too": partial(circles_of_files, with_typing=True),
    "circles of packages": circles_of_packages,
    "circles of packages, types too": partial(circles_of_packages, with_typing=True),
    "class names twice": class_names_twice,
    **{f"assignments to {name}": partial(assignments, name=name) for name in DIALECT},
    "dict[str, Any] at boundaries": untyped_boundaries,
    "public docstrings": lambda checkout: [place for place, _ in public_docstrings(checkout)],
    "docstrings without subject": docstrings_without_subject,
    "fmt skips": format_skips,
    f"lines over {LONGEST_LINE}": long_lines,
}


def count_all(checkout: Checkout) -> dict[str, int | str]:
    """Count every measure; the longest function is there twice, by its lines and by its place."""
    counts: dict[str, int | str] = {measure: len(places(checkout)) for measure, places in MEASURES.items()}
    counts["longest function"], counts["longest function is"] = next(iter(function_lengths(checkout)), (0, ""))
    return counts


def as_table(columns: dict[str, dict[str, int | str]]) -> str:
    """Format the counts as a Markdown table, one column a checkout."""
    measures = next(iter(columns.values()))
    lines = [f"| measure | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for measure in measures:
        lines.append(f"| {measure} | {' | '.join(str(counts[measure]) for counts in columns.values())} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, default=ROOT, help="the checkout to count; this one where not given")
    parser.add_argument("--compare", type=Path, help="an older checkout, for a table of before and after")
    parser.add_argument("--json", action="store_true", help="print an object instead of a table")
    parser.add_argument("--list", choices=MEASURES, metavar="MEASURE", help="print the places of one measure")
    given = parser.parse_args()
    if given.list:
        print("\n".join(MEASURES[given.list](read_checkout(given.repo))))
        return
    repos = {"before": given.compare, "after": given.repo} if given.compare else {"now": given.repo}
    try:
        columns = {title: count_all(read_checkout(repo)) for title, repo in repos.items()}
    except (OSError, KeyError, SyntaxError) as error:
        sys.exit(f"cannot count: {error!r}")
    print(json.dumps(columns if given.compare else columns["now"], indent=1) if given.json else as_table(columns))


if __name__ == "__main__":
    main()
