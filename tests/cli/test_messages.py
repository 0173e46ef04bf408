"""Mistakes on the command line: one line that names what was probably meant."""

import shlex

import pytest

import textclf.data
import textclf.models  # noqa: F401  # hints know the arguments of all classes
from textclf.cli import main
from textclf.cli.config import axes_as_configs, configs_first, one_text_or_several
from textclf.cli.help import COMMON_OPTIONS, TRAINING_OPTIONS
from textclf.cli.messages import explain
from textclf.cli.names import COMMAND_ALIASES, COMMANDS, OPTION_ALIASES
from textclf.run.yaml_values import dump, load

OPTIONS = ["-c", "--config", "--ckpt_path", "--run_dir", "--run_name", "--seed_everything", "--print_config"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--epochs 3", "--trainer.max_epochs 3"),
        ("--epochs=3", "--trainer.max_epochs 3"),
        ("--num_train_epochs 3", "--trainer.max_epochs 3"),
        ("--max-epochs 3", "--trainer.max_epochs 3"),
        ("--trainer.epochs 3", "--trainer.max_epochs 3"),
        ("--trainer.max_epoch 3", "--trainer.max_epochs 3"),
        ("--trainner.max_epochs 3", "--trainer.max_epochs 3"),
        ("--lr 1e-3", "--model.learning_rate 1e-3"),
        ("--learning_rate 1e-3", "--model.learning_rate 1e-3"),
        ("--batch_size 8 --lr 1", "--data.batch_size 8"),
        ("--batch-size 8", "--data.batch_size 8"),
        ("--per_device_train_batch_size 8", "--data.batch_size 8"),
        ("--gpus 1", "--trainer.devices 1"),
        ("--devices 1", "--trainer.devices 1"),
        ("--precision 16", "--trainer.precision 16"),
        ("--fp16", "--trainer.precision 16-mixed"),
        ("--cpu", "--trainer.accelerator cpu"),
        ("--model_name bert", "--model.pretrained bert"),
        ("--model_name_or_path bert", "--model.pretrained bert"),
        ("--max_seq_length 128", "--model.max_length 128"),
        ("--modle.max_length 128", "--model.max_length 128"),
        ("--seed 1", "--seed_everything 1"),
        ("--output_dir out", "--run_dir out"),
        ("--run-dir out", "--run_dir out"),
        ("--data_dir d", "--data.data_dir d"),
        ("--dataset d", "--data.data_dir d"),
        ("--resume", "--ckpt_path"),
        ("--checkpoint x.ckpt", "--ckpt_path x.ckpt"),
        ("--print-config", "--print_config"),
    ],
)
def test_options_of_other_tools_and_misspelt_ones(given, meant):
    line = explain(f"unrecognized arguments: {given}", OPTIONS)
    assert f"no option {given.split('=')[0].split(' ')[0]}: did you mean {meant!r}?" in line


@pytest.mark.parametrize("given", ["--nonsense 3", "--trainer.nonsense 3", "-e 3"])
def test_options_that_mean_nothing(given):
    assert explain(f"unrecognized arguments: {given}", OPTIONS).endswith("`--help` lists the options")


def test_words_without_an_option():
    assert "'b c' is not the value of an option" in explain("unrecognized arguments: b c")


def test_every_option_that_is_named_exists(capsys):
    assert set(COMMAND_ALIASES.values()) == set(COMMANDS)
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--model", "FineTunedClassifier", "--data", "FilesDataModule", "--print_config"])
        config = load(capsys.readouterr().out)
        config["model"], config["data"] = config["model"]["init_args"], config["data"]["init_args"]
        known = {
            *config,
            *(f"{section}.{name}" for section in ("trainer", "model", "data") for name in config[section]),
        }
        named = [*OPTION_ALIASES.values(), *COMMON_OPTIONS, *TRAINING_OPTIONS]
        options = {option.split(" ")[0].removeprefix("--").partition("+")[0] for option in named}
        extra = {"texts", "input", "output"} - set(config)
        assert options - known <= {"config", *extra}, command


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", ["a command is missing", "fit, validate, test and predict"]),
        ("train --config x", ["'train'", "did you mean 'fit'?"]),
        ("Fit", ["did you mean 'fit'?"]),
        ("tran", ["did you mean 'fit'?"]),
        ("Evaluat", ["did you mean 'validate'?"]),
        ("tets", ["did you mean 'test'?"]),
        ("infer", ["did you mean 'predict'?"]),
        ("nonsense", ["no command 'nonsense'", "fit, validate, test and predict"]),
        ("--config x.yaml fit", ["command comes first", "`textclf fit ...`"]),
        ("--run_dir x", ["a command comes before the options"]),
        ("fit", ["nothing to run", "configs/quickstart.yaml", "--data and --model"]),
        ("fit --trainer.max_epochs 3", ["nothing to run"]),
        ("test", ["nothing to run", "--ckpt_path RUN/checkpoints/best.ckpt"]),
        ("predict --texts a", ["nothing to run", "--ckpt_path RUN/checkpoints/best.ckpt"]),
        ("fit --config configs/model/tfidf.yaml", ["no data", "--config configs/files.yaml", "--data FilesDataModule"]),
        ("fit --config configs/model/tfidf.yaml --data.data_dir x", ["no data", "--data FilesDataModule"]),
        ("fit --model TfidfClassifier --data.data_dir x", ["no data", "--data FilesDataModule"]),
        ("test --config=configs/model/nli.yaml", ["no data", "--ckpt_path"]),
        ("fit --data FilesDataModule --data.data_dir x", ["no method", "configs/model/tfidf.yaml"]),
        ("fit --data FilesDataModule --model.min_df 2", ["no method", "--model TfidfClassifier"]),
        ("fit --data FilesDataModule --model TfidfClassifier", ["FilesDataModule needs data_dir", "--data.data_dir"]),
        ("fit --data FilesDataModule --model TfidfClassifier --ckpt x", ["--ckpt", "'--ckpt_path x'"]),
        ("fit --data FilesDataModule --model TfidfClassifier --model.mindf 2", ["'mindf' of Tfidf", "'min_df'?"]),
        ("fit --data FilesDataModule --model FineTunedClassifier --model.lr 2", ["'lr'", "'learning_rate'?"]),
        ("fit --data FilesDataModule --model TfidfClassifier --model.batch 3", ["'batch'", "'--data.batch_size'?"]),
        ("fit --data FilesDataModule --model TfidfClassifier --model.max_epochs 3", ["'--trainer.max_epochs'?"]),
        ("fit --data FilesDataModule --model TfidfClassifier --data.lr 3", ["'--model.learning_rate'?"]),
        ("fit --data FilesDataModule --model TfidfClassifier --model.seed 3", ["'--seed_everything'?"]),
        ("fit --data FilesDataModule --model TfidfClassifier --model.cpu true", ["'--trainer.accelerator cpu'?"]),
        ("fit --data FilesDataModule --model TfidfClassifier --data.batchsize 2", ["'batchsize'", "'batch_size'?"]),
        ("fit --data FilesDataModule --model TfidfClassifier --model.C much", ["model.C: expected float", "much"]),
        (
            "fit --data FilesDataModule --model TfidfClassifier --data.label_names 0",
            ["data.label_names: expected list,"],
        ),
        ("fit --data FilesDataModule --model TfidfClassifier --data.label_names '[0, 1]'", ["got 0", '("0")']),
        ("fit --data FilesDataModule --model CausalLMClassifier --model.label_words '{a: 1}'", ["got 1", '("1")']),
        ("fit --data FilesDataModule --model CausalLMClassifier --model.label_words '{a: [true]}'", ['("true")']),
        ("test --data FilesDataModule --model ChatClassifier --model.answers '{yes: false}'", ['("false")']),
        ("fit --data FilesDataModule --model CausalLMClassifier --model.label_words '{0: a, 0: b}'", ["'0'", "twice"]),
        ("fit --data FilesDataModule --model TfidfClassifier --data.label_names '[a, b'", ["[a, b", "not valid YAML"]),
        ("fit --config '{data: '", ["the configuration {data: ", "not valid YAML"]),
        ("test --config nowhere.yaml", ["'nowhere.yaml'", "No such file"]),
        ("test --config configs", ["'configs' is a folder"]),
    ],
)
def test_half_a_command(command, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(command))
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("textclf: error: ")
    assert all(word in lines[-1] for word in words), lines[-1]


@pytest.mark.parametrize(
    ("given", "put"),
    [
        ("--a 1 --config x", "--config x --a 1"),
        ("--a 1 -c x --b --config=y --c=2", "--config x --config y --a 1 --b --c=2"),
        ("--config x --a 1 --config y", "--config x --config y --a 1"),
        ("--a 1", "--a 1"),
        ("--model A --model.x 1 --config x", "--model A --config x --model A --model.x 1"),
        ("--config x --data=A", "--data A --config x --data A"),
    ],
)
def test_values_win_wherever_the_configurations_stand(given, put):
    assert configs_first(given.split()) == put.split()


def test_classes_and_arguments_compose_in_the_order_that_they_are_given_in():
    tokens = axes_as_configs(
        ["--model.C=2", "--run_dir", "x", "--model", "TfidfClassifier", "--model.help", "--data.x.y", "1"]
    )
    configs = [load(token) for token in tokens if token.startswith("{")]
    assert configs == [{"model": {"init_args": {"C": "2"}}}, {"model": {"class_path": "TfidfClassifier"}}]
    assert [token for token in tokens if not token.startswith("{")] == [
        *("--config", "--run_dir", "x", "--config", "--model.help", "--data.x.y", "1")
    ]


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("one text", ["one text"]),
        ('["a", "b"]', ["a", "b"]),
        (' ["a"]', ["a"]),
        ("[]", []),
        ("[spam] win", ["[spam] win"]),
        ("[spam]", ["[spam]"]),
        ('["a", "b"] and more', ['["a", "b"] and more']),
        ("{a: 1}", ["{a: 1}"]),
        ("null", ["null"]),
        ("123", ["123"]),
        ("", [""]),
        (r'["\ud83d\ude00"]', ["😀"]),
        ('["a", null, NaN, 7, 1.5, true]', ["a", "", "", "7", "1.5", "true"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_texts_are_one_or_several(given, texts):
    assert one_text_or_several(given) == texts


def test_texts_that_are_none(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--data", "FilesDataModule", "--model", "NLIClassifier", "--texts", '["a", ["b"]]'])
    assert "--texts: one of the texts is a list, not a text" in capsys.readouterr().err


@pytest.mark.parametrize("before", [True, False])
def test_a_value_wins_over_the_files_on_either_side(before, capsys, tmp_path):
    (tmp_path / "more.yaml").write_text(dump({"data": {"init_args": {"val_size": 0.1, "batch_size": 8}}}))
    value, file = ["--data.val_size", "0.2", "--trainer.max_epochs", "7"], ["--config", str(tmp_path / "more.yaml")]
    given = ["fit", "--model", "TfidfClassifier", "--data", "FilesDataModule", "--data.data_dir", "x"]
    with pytest.raises(SystemExit):
        main([*given, *(value + file if before else file + value), "--print_config"])
    config = load(capsys.readouterr().out)
    assert (config["data"]["init_args"]["val_size"], config["trainer"]["max_epochs"]) == (0.2, 7)
    assert config["data"]["init_args"]["batch_size"] == 8
