"""Counts what the layout of the package costs its readers, for the working tree and for any revisions.

python scripts/count_layout.py [REVISION ...]

Imports under `if TYPE_CHECKING` do not count, those inside functions do. Modules that import each other count
as one in a chain. A place is a module or a folder right under `seqvae/`.
"""

from __future__ import annotations

import ast
import io
import statistics
import subprocess
import sys
import tarfile
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from seqvae.utils.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "seqvae"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Graph = Mapping[str, set[str]]


def read_tree(revision: str | None) -> dict[str, str]:
    """README.md and the Python files of the package, by path: of a revision, or of the working tree."""
    if revision is None:
        files = [ROOT / "README.md", *(ROOT / PACKAGE).rglob("*.py")]
        return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    command = ["git", "archive", revision, PACKAGE, "README.md"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        found = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {
            name: content.read().decode()
            for name, content in found.items()
            if content and (name == "README.md" or name.endswith(".py"))
        }


def module_name(path: str) -> str:
    """`seqvae.a.b` of `seqvae/a/b.py` or `seqvae/a/b/__init__.py`."""
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


def import_graph(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """The modules of the package that each module imports."""
    return {name: set(_imports(tree, trees.keys())) - {name} for name, tree in trees.items()}


def _imports(node: ast.AST, known: Any) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in known)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            full = {f"{child.module}.{alias.name}" for alias in child.names}
            yield from full & known
            if child.module in known and full - known:
                yield child.module
        yield from _imports(child, known)


def longest_chain(graph: Graph) -> int:
    """Modules on the longest path of a graph, in which those of a cycle count as one."""
    group = {name: i for i, members in enumerate(_components(graph)) for name in members}
    edges: dict[int, set[int]] = {i: set() for i in group.values()}
    for name, targets in graph.items():
        edges[group[name]] |= {group[target] for target in targets} - {group[name]}
    depth: dict[int, int] = {}

    def measure(i: int) -> int:
        if i not in depth:
            depth[i] = 1 + max(map(measure, edges[i]), default=0)
        return depth[i]

    return max(map(measure, edges))


def _components(graph: Graph) -> list[set[str]]:
    """Strongly connected components (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            cut = stack.index(name)
            found.append(set(stack[cut:]))
            del stack[cut:]

    for name in graph:
        if name not in index:
            visit(name)
    return found


def place_graph(graph: Graph) -> dict[str, set[str]]:
    """The same imports between the places right under the package."""
    inner = {name: targets for name, targets in graph.items() if "." in name}
    places: dict[str, set[str]] = {name.split(".")[1]: set() for name in inner}
    for name, targets in inner.items():
        own = name.split(".")[1]
        places[own] |= {target.split(".")[1] for target in targets if "." in target} - {own}
    return places


def function_lengths(trees: Mapping[str, ast.Module]) -> list[int]:
    """Lines of every function without its docstring and decorators, from shortest to longest."""
    nodes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    return sorted(_length(node) for node in nodes)


def _length(node: Any) -> int:
    whole: int = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        whole -= node.body[0].end_lineno - node.body[0].lineno + 1
    return whole


def docstrings(trees: Mapping[str, ast.Module]) -> list[str]:
    """The docstrings of public classes, functions and methods; empty where one is missing."""
    kinds = (*FUNCTIONS, ast.ClassDef)
    nodes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, kinds)]
    return [ast.get_docstring(node) or "" for node in nodes if not node.name.startswith("_")]


def comment_lines(source: str) -> int:
    """Lines that hold a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})


def count(files: Mapping[str, str]) -> dict[str, str]:
    """Every count of a tree, in words."""
    sources = {module_name(path): text for path, text in files.items() if path.endswith(".py")}
    trees = {name: ast.parse(text) for name, text in sources.items()}
    graph = import_graph(trees)
    places = place_graph(graph)
    roots = [path for path in files if path.count("/") == 1]
    folders = {str(PurePosixPath(path).parent) for path in files if path.count("/") > 1}
    top = {path.split("/")[1] for path in folders}
    arrows = sum(map(len, places.values()))
    mutual = sum(a < b and a in places[b] for a, targets in places.items() for b in targets)
    lines = {name: text.count("\n") for name, text in sources.items()}
    sizes, texts = function_lengths(trees), docstrings(trees)
    public, comments = max(1, len(texts)), sum(map(comment_lines, sources.values()))
    return {
        "modules right under the package": str(len(roots)),
        "folders right under it, and in all": f"{len(top)}, {len(folders)}",
        "places": str(len(places)),
        "imports between places": str(arrows),
        "pairs of places that import each other": str(mutual),
        "layers of places (longest chain)": str(longest_chain(places)),
        "longest chain of module imports": str(longest_chain(graph)),
        "modules, and lines": f"{len(sources)}, {sum(lines.values()):,}",
        "lines per module: median, largest": f"{statistics.median(lines.values()):g}, {max(lines.values())}",
        "functions": f"{len(sizes):,}",
        "lines per function: median, 95 %, largest": f"{statistics.median(sizes):g}, "
        f"{sizes[int(0.95 * len(sizes))]}, {sizes[-1]}",
        "public names with a docstring": f"{100 * sum(map(bool, texts)) / public:.0f} %",
        "of these with `Args:`, with `Raises:`": f"{sum('Args:' in t for t in texts)}, "
        f"{sum('Raises:' in t for t in texts)}",
        "docstrings with an example that runs": str(sum(">>> " in text for text in texts)),
        "comments per 1,000 lines": f"{1000 * comments / sum(lines.values()):.0f}",
        "lines of README.md": str(files["README.md"].count("\n")),
    }


def main(revisions: list[str]) -> None:
    """Print a table with a column per revision, and one for the working tree."""
    sys.setrecursionlimit(10_000)
    columns = [count(read_tree(revision)) for revision in (*revisions, None)]
    head = ("", *revisions, "now")
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    print("\n".join(markdown_table(head, rows)))


if __name__ == "__main__":
    main(sys.argv[1:])
