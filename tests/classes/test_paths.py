"""Where modules are looked for; errors in the user's modules and classes are shown as they are."""

import importlib
import sys
import traceback
from types import SimpleNamespace

import pytest
from lightning.pytorch import Trainer

from textclf import cli
from textclf.__main__ import run
from textclf.classes.paths import class_paths_in
from textclf.classes.user_code import FailedClass, build, import_modules, missing_class
from textclf.cli import main
from textclf.cli.config import class_paths_of
from textclf.errors import UserError
from textclf.models import TextClassifier

MODULES = {
    "needs_package": "import surely_not_installed\nclass M: pass\n",
    "needs_name": "from textclf.models import NoSuchMethod\n",
    "divides": "x = 1\n\ny = x / 0\n",
    "unfinished": "class M(\n",
    "raises": "raise KeyError('a', 'b')\n",
    "empty_message": "assert False\n",
    "deep": "import divides\n",
    "good": "class M: pass\n",
}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "own_package").mkdir()
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source)
        (tmp_path / "own_package" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "needs_package",
            r"ModuleNotFoundError: No module named 'surely_not_installed' \(.*needs_package.py, line 1\)",
        ),
        ("needs_name", "ImportError: cannot import name 'NoSuchMethod'"),
        ("divides", r"ZeroDivisionError: division by zero \(.*divides.py, line 3\)"),
        ("unfinished", r"SyntaxError: '\(' was never closed \(.*unfinished.py, line 1\)"),
        ("raises", r"KeyError: \('a', 'b'\) \(.*raises.py, line 1\)"),
        ("empty_message", r"AssertionError:  \(.*empty_message.py, line 1\)"),
        ("deep", r"ZeroDivisionError: division by zero \(.*divides.py, line 3\)"),
    ],
)
@pytest.mark.parametrize("package", ["", "own_package."])
def test_a_module_that_cannot_be_imported(modules, name, message, package):
    path = f"{package}{name}.M"
    with pytest.raises(UserError, match=rf"^{path}: importing its module fails: {message}") as caught:
        import_modules([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("good.Nope", "there is no class 'Nope' in the module 'good'"),
        ("own_package.good.Nope", "there is no class 'Nope' in the module 'own_package.good'"),
        ("no_such_module.M", "there is no module 'no_such_module' for the class 'no_such_module.M': put its folder on"),
        ("own_package.nope.M", "there is no module 'own_package.nope' for the class"),
        ("good.M.Inner", "there is no module 'good.M'"),
        ("Nope", "there is no class 'Nope'"),
    ],
)
def test_a_class_that_is_not_there(modules, path, message):
    import_modules([path] if "." in path else [])  # left to the parser
    assert missing_class(path).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config", "{model: {class_path: a.B}, data: c.D}"], ["a.B", "c.D"]),
        (["--config={model: {class_path: a.B, init_args: {part: {class_path: e.F}}}}"], ["a.B", "e.F"]),
        (["--trainer.callbacks+=a.B", "--trainer.callbacks.calibrator=c.D"], ["a.B", "c.D"]),
        (["--trainer.callbacks+", "a.B", "--trainer.logger", "c.D"], ["a.B", "c.D"]),
        (["--config", "{trainer: {callbacks: [{class_path: a.B}], logger: c.D}}"], ["a.B", "c.D"]),
        (["--trainer.default_root_dir", "a.b", "--config", "{model: Short}", "--trainer.logger", "false"], []),
    ],
)
def test_class_paths_of_a_command(arguments, expected):
    assert class_paths_of(arguments) == expected


def test_class_paths_in_arguments_alone():
    assert list(class_paths_in({"model": {"init_args": {"pretrained": "a.b", "data_dir": "c.d"}}})) == []


class Own(TextClassifier):
    def __init__(self, num_classes, label_names, fail):
        super().__init__(num_classes, label_names)
        fail(self)


class NoFacts(TextClassifier):
    def __init__(self, num_classes, label_names):
        super().__init__()


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (lambda self: {}["size"], KeyError),
        (lambda self: self.nothing, AttributeError),
        (lambda self: int("depth"), ValueError),
        (lambda self: Trainer(devices=1, no_such_option=1), TypeError),
        (lambda self: __import__("surely_not_installed"), ModuleNotFoundError),
        (lambda self: open("/surely/not/there"), FileNotFoundError),
    ],
)
def test_an_error_of_a_class_is_kept(fail, kind):
    with pytest.raises(FailedClass) as caught:
        build(Own, (2, ("a", "b")), {"fail": fail})
    shown = "".join(traceback.format_exception(caught.value.error))
    assert type(caught.value.error) is kind
    assert "(raised while tests.classes.test_paths.Own was made)" in shown
    assert "in <lambda>" in shown


def test_the_facts_of_the_data_are_passed_on():
    with pytest.raises(
        UserError, match=r"^NoFacts.__init__: call super\(\).__init__\(num_classes, label_names\) first"
    ):
        build(NoFacts, (2, ("a", "b")), {})


@pytest.mark.slow
@pytest.mark.parametrize("module", ["model", "data"])
def test_the_command_line_shows_the_error_of_a_class(module, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_failing.py").write_text(
        "from textclf.data import FilesDataModule\nfrom textclf.models import TextClassifier\n"
        "class M(TextClassifier):\n    def __init__(self, num_classes, label_names):\n"
        "        super().__init__(num_classes, label_names)\n        self.size = {}['size']\n"
        "class D(FilesDataModule):\n    def __init__(self, data_dir: str):\n        self.size = {}['size']\n"
    )
    (tmp_path / "test.csv").write_text("text,label\nsun,dry\nrain,wet\n")
    monkeypatch.syspath_prepend(tmp_path)
    classes = {"model": ("own_failing.M", "FilesDataModule"), "data": ("TfidfClassifier", "own_failing.D")}[module]
    options = ["--data.data_dir", str(tmp_path), "--run_dir", str(tmp_path / "run"), "--trainer.logger", "false"]
    with pytest.raises(KeyError) as caught:
        main(["test", "--model", classes[0], "--data", classes[1], *options])
    shown = "".join(traceback.format_exception(caught.value))
    assert "self.size = {}['size']" in shown
    assert "own_failing." in shown
    assert "Union" not in shown


@pytest.fixture
def started_by_path(tmp_path, monkeypatch):
    """A current folder with a module, and the `sys.path` of a console script, which is without that folder."""
    (tmp_path / "found_here.py").write_text("VALUE = 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(cli, "main", lambda: importlib.import_module("found_here"))
    yield
    sys.modules.pop("found_here", None)


def test_the_console_script_finds_modules_in_the_current_folder_once(started_by_path):
    for _ in range(2):
        run()
    assert sys.modules["found_here"].VALUE == 1
    assert sys.path.count("") == 1


def test_a_safe_path_stays_as_it_is(started_by_path, monkeypatch):
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if not name.startswith("_")}
    monkeypatch.setattr(sys, "flags", SimpleNamespace(**{**flags, "safe_path": True}))
    with pytest.raises(ModuleNotFoundError, match="found_here"):
        run()
