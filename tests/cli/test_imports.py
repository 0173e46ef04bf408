"""Modules that configurations and checkpoints name are reported before they are imported."""

import sys

import pytest
import torch
import yaml

from textclf.cli import main
from textclf.cli.imports import imports_in, say_imports

MODULE = "print('imported', flush=True)\nclass Thing: pass\nrule = Thing\n"


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A module in the current folder, which is not imported yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stranger.py").write_text(MODULE)
    yield "stranger.Thing"
    sys.modules.pop("stranger", None)


@pytest.mark.parametrize(
    "config",
    [
        {"model": "stranger.Thing"},
        {"model": {"class_path": "stranger.Thing"}},
        {"data": {"class_path": "stranger.Thing"}},
        {"data": {"class_path": "FilesDataModule", "init_args": {"cleaning": ["stranger.Thing"]}}},
        {"data": {"class_path": "FilesDataModule", "init_args": {"cleaning": [{"class_path": "stranger.Thing"}]}}},
        {"model": {"class_path": "CausalLMClassifier", "init_args": {"rule": "stranger.rule"}}},
        {"model": {"class_path": "CausalLMClassifier", "init_args": {"x": [{"class_path": "stranger.Thing"}]}}},
        {"trainer": {"callbacks": ["stranger.Thing"]}},
        {"trainer": {"callbacks+": [{"class_path": "stranger.Thing"}]}},
        {"trainer": {"callbacks": [{"class_path": "ExtraMetrics", "init_args": {"metrics": ["stranger.Thing"]}}]}},
        {"trainer": {"logger": "stranger.Thing"}},
        {"trainer": {"logger": {"class_path": "stranger.Thing"}}},
        {"trainer": {"plugins": ["stranger.Thing"], "strategy": "stranger.Thing"}},
        {"trainer": {"profiler": "stranger.Thing"}},
        {"trainer": {"strategy": "stranger.Thing"}},
    ],
    ids=str,
)
def test_a_configuration_says_what_it_imports(stranger, tmp_path, capsys, config):
    (tmp_path / "given.yaml").write_text(yaml.safe_dump(config))
    say_imports(["fit", "--config", "given.yaml", "--config=given.yaml"], None, None)
    assert capsys.readouterr().err == (
        f"textclf: note: imports stranger ({tmp_path / 'stranger.py'}), which given.yaml names\n"
    )
    assert "stranger" not in sys.modules


@pytest.mark.slow
def test_the_note_comes_first(stranger, tmp_path, capfd):
    (tmp_path / "given.yaml").write_text("model: {class_path: stranger.Thing}\ndata: NSMCDataModule\n")
    (tmp_path / "outer.yaml").write_text("model: given.yaml\ndata: NSMCDataModule\n")
    for name in ("given.yaml", "outer.yaml"):
        sys.modules.pop("stranger", None)
        with pytest.raises(SystemExit):
            main(["fit", "--config", name])
        found = capfd.readouterr()
        lines = found.err.splitlines()
        assert lines[0] == f"textclf: note: imports stranger ({tmp_path / 'stranger.py'}), which given.yaml names"
        assert lines[-1].startswith("textclf: error: model: ")


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "given.yaml"],
        ["--model=given.yaml"],
        ["--data", "given.yaml"],
        ["--trainer", "given.yaml"],
        ["--trainer.callbacks", "given.yaml"],
        ["--trainer.callbacks+=given.yaml"],
        ["--trainer.logger", "given.yaml"],
        ["--model.calibrator", "given.yaml"],
        ["--config", "{model: given.yaml}"],
        ["--config", "broken.yaml", "--config", "outer.yaml"],
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "content", ["class_path: stranger.Thing", "callbacks: [stranger.Thing]", "model: stranger.Thing"]
)
def test_a_file_that_is_no_config_says_what_it_imports(stranger, tmp_path, capsys, words, content):
    (tmp_path / "given.yaml").write_text(content)
    (tmp_path / "outer.yaml").write_text("data: broken.yaml\ntrainer: {callbacks: [given.yaml]}\nmodel: outer.yaml\n")
    (tmp_path / "broken.yaml").write_text("a: [")
    say_imports(["fit", *words], None, None)
    assert capsys.readouterr().err == (
        f"textclf: note: imports stranger ({tmp_path / 'stranger.py'}), which given.yaml names\n"
    )


def test_a_list_in_a_file_of_callbacks(stranger, tmp_path, capsys):
    (tmp_path / "given.yaml").write_text("[stranger.Thing]")
    say_imports(["fit", "--trainer.callbacks", "given.yaml"], None, None)
    assert "imports stranger" in capsys.readouterr().err


def test_code_of_a_model_that_a_file_allows_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = {"load_options": {"trust_remote_code": True}}
    (tmp_path / "given.yaml").write_text(yaml.safe_dump({"model": {"init_args": options}}))
    line = "textclf: note: runs code that comes with a model: {} sets trust_remote_code\n"
    say_imports(["fit", "--config", "given.yaml"], None, None)
    assert capsys.readouterr().err == line.format("given.yaml")
    say_imports(["test", "--ckpt_path", "x.ckpt"], {"textclf": {}, "hyper_parameters": options}, tmp_path / "x.ckpt")
    assert capsys.readouterr().err == line.format(tmp_path / "x.ckpt")
    say_imports(["fit", "--config", "{model: {init_args: {load_options: {trust_remote_code: true}}}}"], None, None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "change",
    [
        {"class_path": "stranger.Thing"},
        {"data": {"class_path": "stranger.Thing", "init_args": {}}},
        {"calibrators": [{"class_path": "stranger.Thing", "state": {}}]},
        {"text_steps": [{"class_path": "stranger.Thing", "init_args": {}}]},
    ],
    ids=str,
)
def test_a_checkpoint_says_what_it_imports(stranger, tmp_path, capfd, change):
    facts = {"class_path": "textclf.models.TfidfClassifier", "label_names": ["a", "b"], "text_steps": []} | change
    torch.save({"textclf": facts, "hyper_parameters": {}, "state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(SystemExit):
        main(["test", "--ckpt_path", "x.ckpt"])
    assert capfd.readouterr().err.splitlines()[0] == (
        f"textclf: note: imports stranger ({tmp_path / 'stranger.py'}), which x.ckpt names"
    )


@pytest.mark.parametrize(
    "config",
    [
        {"model": "TfidfClassifier", "trainer": {"callbacks": ["textclf.run.HeapTrimmer"]}},
        {"trainer": {"callbacks": [{"class_path": "lightning.pytorch.callbacks.EarlyStopping"}]}},
        {"model": {"class_path": "x", "init_args": {"optimizer": {"class_path": "torch.optim.Adam"}}}},
        {"run_name": "stranger.Thing", "data": {"init_args": {"data_dir": "stranger.Thing"}}},
        {"model": "nowhere.Thing"},
    ],
    ids=str,
)
def test_configurations_that_import_nothing_else(stranger, tmp_path, capsys, config):
    (tmp_path / "given.yaml").write_text(yaml.safe_dump(config))
    say_imports(["fit", "--config", "given.yaml"], None, None)
    assert capsys.readouterr().err == ""


def test_what_is_typed_is_not_reported(stranger, capsys):
    say_imports(["fit", "--model", stranger, "--config", f"{{data: {stranger}}}"], None, None)
    assert capsys.readouterr().err == ""


def test_paths_under_other_keys_are_no_imports():
    assert list(imports_in({"prompt": "a.b", "model": {"init_args": {"pretrained": "a.b"}}}, None, "x")) == []
