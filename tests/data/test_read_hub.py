"""Shipped data modules, unchanged, on a hub at `HF_ENDPOINT` that holds invented rows."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

import textclf.data
from tests.hub_server import HubServer, commit_of
from textclf.cli import main
from textclf.data import read_hub
from textclf.errors import UserError
from textclf.hashing import rows_hash

CONFIGS = Path(__file__).parents[2] / "configs"
MODULES = [name for name in textclf.data.__all__ if hasattr(getattr(textclf.data, name), "hub_id")]
LAYOUTS = {
    "EmotionDataModule": "split/{}-00000-of-00001.parquet",
    "KLUENLIDataModule": "nli/{}-00000-of-00001.parquet",
    "RottenTomatoesDataModule": "{}.parquet",
    "YNATDataModule": "ynat/{}-00000-of-00001.parquet",
    **dict.fromkeys(
        ["Banking77DataModule", "KorHateDataModule", "KorSAEDataModule", "NSMCDataModule"], "default/{}/0000.parquet"
    ),
}
THIS, OTHER, HALF = "a" * 40, "b" * 40, "c" * 40
CARD = "---\nconfigs:\n- config_name: one\n  data_files: {one}\n- config_name: two\n  data_files: {two}\n---\n"

CLIENT = """
import json, sys, traceback
import datasets, textclf.data
from textclf.cli import main
from textclf.cli import main
from textclf.data import read_hub
from textclf.hashing import rows_hash
from textclf.errors import UserError

def module(name):
    rows = [getattr(textclf.data, name)().rows(split) for split in ("train", "test")]
    return [[rows_hash(r), r["id"][:], r["text"][:], r["label"][:]] for r in rows]

def read(*arguments):
    rows = read_hub.read_hub(*arguments)
    return [str(rows.features), rows.to_list()]

def library(repository, config, revision, split):
    rows = datasets.load_dataset(repository, config, revision=revision, split=split)
    return [str(rows.features), rows.to_list()]

for line in sys.stdin:
    what, *arguments = json.loads(line)
    read_hub._files.cache_clear()  # as in a process of its own
    try:
        answer = globals()[what](*arguments)
    except UserError as error:
        answer = str(error)
    except Exception:
        answer = traceback.format_exc()
    print(json.dumps(answer), flush=True)
"""


def parquet(columns, features):
    content = io.BytesIO()
    Dataset.from_dict(columns, features=features).to_parquet(content)
    return content.getvalue()


def labelled(texts, names=("neg", "pos")):
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    return parquet({"text": texts, "label": [i % len(names) for i in range(len(texts))]}, features)


def invented(module, split):
    """Rows in the columns of a shipped data set's source, with its label names."""
    names = list(module.label_names)
    texts = [f"{split} 글 {i}, {'&amp; ' * (i % 2)}NA" for i in range(8 * len(names))]
    columns = {
        "other": texts,
        module.text_column: texts,
        module.label_column: [i % len(names) for i in range(len(texts))],
    }
    features = {
        "other": Value("string"),
        module.text_column: Value("string"),
        module.label_column: ClassLabel(names=names),
    }
    if module.text_pair_column:
        columns[module.text_pair_column] = [f"{text} 짝" for text in texts]
        features[module.text_pair_column] = Value("string")
    if module.id_column:
        columns[module.id_column] = [f"{i:07}" for i in range(len(texts))]
        features[module.id_column] = Value("string")
    return parquet(columns, Features(features))


def splits(module):
    return [module.split_names.get(split, split) for split in module.hub_splits]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """For each shipped module a folder of its rows, for `data_dir`."""
    root = tmp_path_factory.mktemp("rows")
    for name in MODULES:
        module = getattr(textclf.data, name)
        (root / name).mkdir()
        for split in splits(module):
            (root / name / f"{split}.parquet").write_bytes(invented(module, split))
    return root


@pytest.fixture(scope="module")
def hub(folders):
    repositories = {
        "their/parquet": {
            THIS: {"train.parquet": labelled(["this 0", "this 1"]), "README.md": b"# Rows"},
            OTHER: {"train.parquet": labelled(["other 0", "other 1", "other 2"])},
            HALF: {f"data/train-0000{i}-of-00002.parquet": labelled([f"half {i}"]) for i in range(2)},
        },
        "their/tables": {
            "main": {"train.csv": b"text,label\nNA,pos\nnull,neg\n,pos\n", "test.csv": b"text,label\nb,neg\n"},
            "tabs": {"train.tsv": b"text\tlabel\na, b\tpos\n"},
            "lines": {"train.jsonl": b'{"text": "a", "label": 1}\n{"text": "NA", "label": 0}\n'},
        },
        "their/configs": {
            "main": {
                "README.md": CARD.format(one="x.csv", two="y.csv").encode(),
                "x.csv": b"text\nx\n",
                "y.csv": b"text\ny\n",
            },
            "folders": {f"{name}/train.parquet": labelled([name]) for name in ("one", "two")},
        },
        "their/script": {"main": {"script.py": b"raise SystemExit", "README.md": b""}},
        "their/words": {"main": {"README.md": b"# Nothing but words"}},
    }
    for name in MODULES:
        module = getattr(textclf.data, name)
        layout = LAYOUTS.get(name, "data/{}-00000-of-00001.parquet")
        files = {layout.format(split): (folders / name / f"{split}.parquet").read_bytes() for split in splits(module)}
        # Another revision of the same repository, with other rows.
        wrong = {layout.format(split): labelled(["wrong"]) for split in splits(module)}
        for revision, content in {module.hub_revision or "main": files, OTHER: wrong}.items():
            repositories.setdefault(module.hub_id, {}).setdefault(revision, {}).update(content)
    with HubServer(repositories) as server:
        yield server


def environment(hub, home, **more):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return clean | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", **more}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def ask(hub, home):
    """Calls a function of `CLIENT` in a process of its own, which keeps its cache in `home`."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        env=environment(hub, home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:

        def call(*question):
            print(json.dumps(question), file=client.stdin, flush=True)
            return json.loads(client.stdout.readline())

        yield call


def from_folder(name, folders):
    module = getattr(textclf.data, name)(data_dir=str(folders / name))
    rows = [module.rows(split) for split in ("train", "test")]
    return [[rows_hash(r), r["id"][:], r["text"][:], r["label"][:]] for r in rows]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_shipped_module_reads_its_pinned_revision(name, ask, hub, folders):
    module = getattr(textclf.data, name)
    revision = module.hub_revision or "main"
    before = len(hub.requests)
    rows = ask("module", name)
    asked = [request for request in hub.requests[before:] if module.hub_id in request]
    assert f"GET /api/datasets/{module.hub_id}/revision/{revision}" in asked
    commit = commit_of(revision, hub.repositories[module.hub_id][revision])
    fetched = [request for request in asked if request.startswith("GET /datasets/")]
    assert len(fetched) == len(module.hub_splits)
    assert all(f"/{module.hub_id}/resolve/{commit}/" in request for request in fetched)
    assert rows == from_folder(name, folders)
    with hub.away():
        assert ask("module", name) == rows


PLACES = [
    ("their/parquet", None, THIS, "train"),
    ("their/parquet", None, OTHER, "train"),
    ("their/configs", "two", "main", "train"),
    ("their/tables", None, "lines", "train"),
    ("their/tables", None, "tabs", "train"),
]


@pytest.mark.parametrize("place", PLACES)
def test_rows_are_those_that_the_library_reads(place, ask):
    assert ask("read", *place) == ask("library", *place)


def test_formats(ask):
    features, rows = ask("read", "their/parquet", None, THIS, "train")
    assert rows == [{"text": "this 0", "label": 0}, {"text": "this 1", "label": 1}]
    assert "ClassLabel(names=['neg', 'pos'])" in features
    _, rows = ask("read", "their/tables", None, "main", "train")
    assert [row["text"] for row in rows] == ["NA", "null", None]
    for config in ("one", "two"):
        assert ask("read", "their/configs", config, "folders", "train")[1] == [{"text": config, "label": 0}]


@pytest.mark.parametrize(
    ("repository", "config", "revision", "split", "why"),
    [
        ("their/script", None, "main", "train", "a loading script at revision 'main', .* 'refs/convert/parquet', or"),
        ("their/words", None, "main", "train", "doesn't contain any data files"),
        ("their/configs", "three", "main", "train", "'three' not found. Available: .*'one', 'two'"),
        ("their/parquet", None, THIS, "test", 'Unknown split "test". Should be one of .*train'),
        (
            "their/parquet",
            None,
            "main",
            "train",
            "the hub has no such revision of it; .* not contain all files of revision 'main'",
        ),
        ("nobody/nothing", None, "main", "train", "the hub has no data set of that name, or you have no access to it"),
    ],
)
def test_what_cannot_be_read(repository, config, revision, split, why, ask):
    line = ask("read", repository, config, revision, split)
    assert re.search(why, line)
    assert repr(repository) in line
    assert "pass --data.data_dir with a folder" in line
    assert "\n" not in line


def test_revision_that_is_not_in_the_cache_is_not_replaced_by_one_that_is(ask, hub):
    assert isinstance(ask("read", "their/tables", None, "main", "train"), list)
    with hub.away():
        for revision in ("lines2", "d" * 40):
            line = ask("read", "their/tables", None, revision, "train")
            assert re.search(
                f"Connection refused; the cache does not contain all files of revision '{revision}'.: pass --data", line
            )


def test_half_of_a_revision_is_not_served(ask, hub, home):
    place = ("read", "their/parquet", None, HALF, "train")
    assert len(ask(*place)[1]) == 2
    (file,) = home.glob(f"hub/datasets--their--parquet/snapshots/{HALF}/data/train-00001-of-00002.parquet")
    file.unlink()
    with hub.away():
        assert f"Connection refused; the cache does not contain all files of revision '{HALF}'" in ask(*place)
    assert len(ask(*place)[1]) == 2


def test_cache_serves_without_a_hub(ask, home, monkeypatch):
    place = ("their/parquet", None, THIS, "train")
    _, rows = ask("read", *place)
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    assert read_hub.read_hub(*place).to_list() == rows
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "empty"))
    read_hub._files.cache_clear()
    with pytest.raises(
        UserError, match=r"data set 'their/parquet' \(.* offline mode is enabled.*\): pass --data.data_dir"
    ):
        read_hub.read_hub(*place)


@pytest.mark.exhaustive
def test_command_line(hub, folders, tmp_path, monkeypatch):
    """NSMC's own configuration from the hub, from its cache in two ways, from a folder, and from nowhere."""

    def arguments(run):
        configs = ("--config", str(CONFIGS / "nsmc.yaml"), "--config", str(CONFIGS / "model/tfidf.yaml"))
        return ["fit", *configs, "--run_dir", run, "--trainer.logger", "false"]

    def fit(run, home="home", **offline):
        command = [sys.executable, "-m", "textclf", *arguments(run)]
        env = environment(hub, tmp_path / home, **offline)
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    done = [
        fit("online"),
        fit("offline", HF_HUB_OFFLINE="1"),
    ]
    monkeypatch.chdir(tmp_path)
    main([*arguments("folder"), "--data.data_dir", str(folders / "NSMCDataModule")])
    with hub.away():
        done.append(fit("away"))
        refused = fit("nowhere", home="empty")
    for run in done:
        assert run.returncode == 0, run.stderr[-3000:]
    first, *others = [
        pq.read_table(tmp_path / run / "report/predictions.parquet") for run in ("online", "offline", "folder", "away")
    ]
    assert len(first)
    assert all(other.equals(first) for other in others)
    assert refused.returncode == 2
    line = refused.stderr.strip().splitlines()[-1]
    assert re.match(
        r"textclf: error: cannot load the data set 'e9t/nsmc' \(.*refused; the cache .*\): pass --data.data_dir", line
    )
    assert "Traceback" not in refused.stderr
