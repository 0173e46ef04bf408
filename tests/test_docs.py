"""The documentation: links, paths, names and commands in it exist, and its Python code can be compiled."""

import ast
import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from textclf.cli import main

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    ".github/CONTRIBUTING.md",
    "configs/README.md",
    "configs/comparison/README.md",
    "configs/reference/README.md",
    "scripts/README.md",
    "scripts/results/README.md",
)
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("configs/**/*.yaml"))
PATHS = re.compile(r"(?<![\w./-])(?:textclf|configs|scripts|tests|\.ci|\.github)/[\w./*<>-]*[\w*>/]")


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def without_code(text):
    """The text without its blocks of code, whose lines may begin with `#`."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(page, language):
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", read(page), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


def anchors(text):
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ +(.*?) *$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    text = without_code(read(page))
    links = re.findall(r"\[[^]]*\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", [*PAGES, *CONFIGS])
def test_paths(page):
    for name in {*PATHS.findall(read(page))}:
        pattern = re.sub(r"<\w+>", "*", name)
        assert list(ROOT.glob(pattern)), name


@pytest.mark.parametrize("page", PAGES)
def test_dotted_names(page):
    for name in {*re.findall(r"\btextclf(?:\.\w+)+", read(page))}:
        parts = name.split(".")
        assert any(has_attributes(parts[:cut], parts[cut:]) for cut in range(len(parts), 0, -1)), name


def has_attributes(module, attributes):
    try:
        value = import_module(".".join(module))
    except ModuleNotFoundError:
        return False
    for attribute in attributes:
        if not hasattr(value, attribute):
            return False
        value = getattr(value, attribute)
    return True


def test_all_configurations_and_scripts_are_listed():
    for config in CONFIGS:
        folder = Path(config).parent
        page = ROOT / ("README.md" if folder.name in ("configs", "model") else folder / "README.md")
        text = page.read_text(encoding="utf-8") if page.exists() else read("configs/README.md")
        assert Path(config).name in text, config
    for script in ROOT.glob("scripts/**/*.py"):
        if "__main__" in script.read_text(encoding="utf-8"):
            assert f"`{script.relative_to(ROOT)}`" in read("scripts/README.md"), script


def defined(path):
    """Names of the classes, their methods, the functions and the constants of a file."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, ast.FunctionDef)}
    return names


def test_the_source_tree_is_the_one_that_is_checked():
    settings = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]
    *floors, ground = settings["contracts"][0]["layers"]
    section = read(".github/CONTRIBUTING.md").partition("## The source tree")[2]
    tree = re.search(r"```\n(.*?)```", section, re.DOTALL)[1]
    *upper, (_, lowest) = [re.split(" {4,}", line) for line in tree.splitlines()]
    assert [names.split() for names, _ in upper] == [floor.split(" | ") for floor in floors]
    assert {*lowest.split(", ")} - {"..."} <= {*ground.split(" : ")}


def test_where_is_what():
    section = read(".github/CONTRIBUTING.md").partition("## Where is what")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .* \| `(textclf/[^`]+)` \|(.*)\|$", section, re.MULTILINE)
    assert len(rows) > 30
    for file, names in rows:
        wanted = {*re.findall(r"`([^`]+)`", names)}
        missing = wanted - defined(ROOT / file) if wanted else set()
        assert not missing, (file, missing)


@pytest.mark.parametrize("page", PAGES)
def test_python_code_has_its_imports(page):
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                module = import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def commands():
    """The commands of the pages that need no earlier run, by what follows `python -m textclf`."""
    found = []
    for page in PAGES:
        for code in blocks(page, "bash"):
            lines = code.replace("\\\n", " ").splitlines()
            found += re.findall(r"python -m textclf (.*)", "\n".join(lines))
        found += re.findall(r"`((?:fit|test) --config configs/[^`]*)`", without_code(read(page)))
    return sorted({command for command in found if not re.search(r"\bruns/|<|\.\.\.", command)})


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_commands_are_accepted(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*shlex.split(command, comments=True), "--print_config"])
    assert end.value.code in (0, None), capsys.readouterr().err
