"""Errors in a module of one's own are shown as they are."""

import re
import traceback

import pytest

MODULES = {  # module: the exception, and what is said
    "broken.needs_package.Method": r"ModuleNotFoundError: No module named 'surely_not_installed_anywhere'",
    "broken.needs_name.Method": r"ImportError: cannot import name 'NoSuchMethod'",
    "broken.divides.Method": r"ZeroDivisionError: division by zero",
}
CLASSES = {
    "broken.classes.Fails": (KeyError, 'self.size = {}["size"]'),
    "broken.classes.RaisesValueError": (ValueError, "depth 3 is odd"),
    "broken.classes.WrongCall": (TypeError, "super().__init__(num_classes, label_names, 3)"),
    "broken.classes.ImportsLater": (ModuleNotFoundError, "surely_not_installed_anywhere"),
}
TEXTS = {  # the text of a module, and what is said
    "def unfinished(:": r"SyntaxError",
    "import own_other": r"ModuleNotFoundError: No module named 'own_other'",
    "raise RuntimeError('set MY_HOME first')": r"RuntimeError: set MY_HOME first",
    "from textclf.models import KNN": r"ImportError: cannot import name 'KNN'",
}
KINDS = {
    "broken.classes.NoSuchClass": r".*NoSuchClass",
    "broken.no_such_module.Method": r".*no_such_module",
    "broken.classes.Network": r".*Network",
    "broken.classes.function": r".*function",
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_that_cannot_be_imported(name, run, refused):
    line = refused("test", name)
    assert re.search(MODULES[name], line)
    assert name in line
    assert "there is no class" not in line


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("axis", ["model", "data"])
def test_modules_with_errors(text, axis, refused, tmp_path, monkeypatch):
    name = f"own_{axis}_{list(TEXTS).index(text)}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    line = refused("test", f"{name}.Class") if axis == "model" else refused("test", "basis.Uniform", f"{name}.Class")
    assert re.search(TEXTS[text], line)
    assert name in line
    assert "there is no class" not in line


@pytest.mark.parametrize("name", CLASSES)
def test_constructors_that_fail(name, run):
    kind, says = CLASSES[name]
    with pytest.raises(kind) as caught:
        run("test", name)
    shown = "".join(traceback.format_exception(caught.value))
    assert says in shown
    assert name in shown


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_method(name, refused):
    line = refused("test", name)
    assert re.match(KINDS[name], line), line
