import threading
from pathlib import Path

import pytest

from textclf.errors import UserError
from textclf.run import folder
from textclf.run.folder import claim_run_folder, find_checkpoint, run_name


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def touch(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch()
    return Path(path)


@pytest.mark.parametrize(
    ("configs", "name"),
    [
        ([], "run"),
        (["configs/nsmc.yaml"], "nsmc"),
        (["configs/nsmc.yaml", "configs/model/linear_probe.yaml"], "nsmc-linear_probe"),
        (["configs/nsmc.yaml", '{"model": {"class_path": "a.B"}}'], "nsmc"),
        ([' {"data": "a/b"}'], "run"),
    ],
)
def test_run_name(configs, name):
    assert run_name(configs) == name
    assert run_name(configs, Path("runs/other/0/checkpoints/best.ckpt")) == ("other" if name == "run" else name)


def test_a_file_whose_name_begins_with_a_brace():
    touch("{a}.yaml")
    assert run_name(["{a}.yaml"]) == "{a}"
    last = touch("checkpoints/last.ckpt")
    assert find_checkpoint("last", None, ["{a}.yaml"]) == last


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [
        ("runs/nsmc/0/checkpoints/best.ckpt", "nsmc"),
        ("runs/nsmc-tfidf/12/checkpoints/last.ckpt", "nsmc-tfidf"),
        ("mine/checkpoints/best.ckpt", "mine"),
        ("mine/best.ckpt", "mine"),
        ("0/checkpoints/best.ckpt", "folder"),
        ("checkpoints/best.ckpt", "folder"),
        ("best.ckpt", "folder"),
        ("내 실험/3/checkpoints/best.ckpt", "내 실험"),
    ],
)
def test_run_name_from_a_checkpoint(checkpoint, name, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    assert run_name([], Path(checkpoint)) == name


def test_versions_count_up():
    claimed = [claim_run_folder("nsmc", None, None).path for _ in range(3)]
    assert claimed == [Path("runs/nsmc", str(i)) for i in range(3)]
    assert claim_run_folder("other", None, None).path == Path("runs/other/0")
    assert sorted(path.name for path in Path("runs/nsmc").iterdir()) == ["0", "1", "2"]
    Path("runs/nsmc/1").rmdir()
    touch("runs/nsmc/3")
    assert [claim_run_folder("nsmc", None, None).path.name for _ in range(2)] == ["1", "4"]


def test_given_folder():
    assert claimed_path("deep/run") == Path("deep/run")
    assert Path("deep/run").is_dir()
    touch("deep/run/notes.txt")
    assert claimed_path("deep/run") == Path("deep/run")
    assert not Path("runs").exists()


def claimed_path(run_dir, resumed=None):
    """The path of a folder that is claimed, and released again."""
    claimed = claim_run_folder("nsmc", run_dir, resumed)
    claimed.release()
    return claimed.path


def test_two_runs_at_the_same_time_do_not_share_a_folder(monkeypatch):
    monkeypatch.setattr(folder, "LOCK_SECONDS", 0.2)
    first = claim_run_folder("nsmc", "run", None)
    checkpoint = touch("run/checkpoints/last.ckpt")
    for resumed in (None, checkpoint):
        with pytest.raises(UserError, match="another run is going on in 'run': wait for its end, or name another"):
            claim_run_folder("nsmc", "run", resumed)
    first.release()
    first.release()  # a second time does no harm
    assert claimed_path("run", checkpoint) == Path("run")


def test_a_run_waits_for_one_that_is_about_to_end():
    first = claim_run_folder("nsmc", "run", None)
    timer = threading.Timer(0.3, first.release)
    timer.start()
    assert claimed_path("run") == Path("run")
    timer.join()


@pytest.mark.parametrize("used", ["run/config.yaml", "run/checkpoints/last.ckpt"])
def test_used_folder_is_refused_save_for_resuming_it(used):
    touch(used)
    other = touch("other/checkpoints/last.ckpt")
    for resumed in (None, other):
        with pytest.raises(UserError, match=r"'run' holds a run already: .* --run_dir run --ckpt_path last"):
            claim_run_folder("nsmc", "run", resumed)
    assert claimed_path("run", touch("run/checkpoints/last.ckpt")) == Path("run")
    assert claimed_path(str(Path("run").resolve()), Path("run/checkpoints/last.ckpt")).name == "run"


def test_a_run_folder_is_named_in_utf8():
    with pytest.raises(UserError, match=r"run_dir 'caf\\udce9' is not UTF-8"):
        claim_run_folder("nsmc", "caf\udce9", None)


@pytest.mark.parametrize(
    ("run_dir", "before", "written", "left"),
    [
        (None, [], [], []),
        (None, [], ["wandb/offline-run-1/run-1.wandb", "tensorboard/events.out", "report/"], []),
        (None, ["runs/nsmc/0/config.yaml"], ["wandb/x"], ["runs/nsmc/0/config.yaml"]),
        (None, ["runs/other/0/config.yaml"], [], ["runs/other/0/config.yaml"]),
        (None, [], ["config.yaml", "wandb/x"], ["config.yaml", "wandb/x"]),
        (None, [], ["checkpoints/last.ckpt"], ["checkpoints/last.ckpt"]),
        (None, [], ["notes.txt"], ["notes.txt"]),
        ("deep/run", [], ["wandb/x"], []),
        ("deep/run", ["deep/notes.txt"], [], ["deep/notes.txt"]),
        ("deep/run", ["deep/run/notes.txt"], [], ["deep/run/notes.txt"]),
        ("deep/run", ["deep/run/"], [], ["deep/run/"]),
    ],
)
def test_a_failed_run_leaves_no_empty_folder(run_dir, before, written, left, tmp_path):
    for path in before:
        Path(path).mkdir(parents=True) if path.endswith("/") else touch(path)
    claimed = claim_run_folder("nsmc", run_dir, None)
    for path in written:
        (claimed.path / path).mkdir() if path.endswith("/") else touch(claimed.path / path)
    claimed.remove_if_empty()
    claimed.remove_if_empty()  # a second time does no harm
    expected = {Path(path) if Path(path).exists() else claimed.path / path for path in left}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == {
        *expected,
        *(parent for path in expected for parent in path.parents if parent != Path()),
    }


def test_other_processes_than_the_first_remove_nothing(monkeypatch):
    claimed = claim_run_folder("nsmc", None, None)
    monkeypatch.setenv("NODE_RANK", "1")
    claim_run_folder("nsmc", None, None).remove_if_empty()
    assert claimed.path.is_dir()


def test_folder_that_cannot_be_made():
    touch("file")
    for path in ("file", "file/run"):
        with pytest.raises(UserError, match=f"run_dir '{path}' cannot be made .*: name another"):
            claim_run_folder("nsmc", path, None)


def test_find_checkpoint():
    assert find_checkpoint("any/where.ckpt", None, []) == Path("any/where.ckpt")
    best, last = (touch(f"run/checkpoints/{name}.ckpt") for name in ("best", "last"))
    assert find_checkpoint("best", "run", []) == best
    assert find_checkpoint("last", None, ["run/config.yaml"]) == last
    touch("second/checkpoints/last.ckpt")
    assert find_checkpoint("last", "run", ["second/config.yaml"]) == last
    assert find_checkpoint("best", "second", ["configs/a.yaml", "run/config.yaml"]) == best


def test_checkpoint_that_is_not_there():
    touch("run/checkpoints/best.ckpt")
    with pytest.raises(UserError, match=r"--ckpt_path last: no checkpoints/last.ckpt in run, configs: give the path"):
        find_checkpoint("last", "run", ["configs/a.yaml"])
    with pytest.raises(UserError, match=r"no checkpoints/best.ckpt in any folder named"):
        find_checkpoint("best", None, [])
    with pytest.raises(UserError, match="in any folder named"):
        find_checkpoint("best", None, ['{"data": {"init_args": {"data_dir": "a/b"}}}'])


OUTSIDE = (
    "../x",
    "../../x",
    "/x",
    "/",
    "..",
    ".",
    "",
    "a/../..",
    "a/../b",
    "a//b",
    "a/",
    "a/.",
    " ",
    "...",
    "C:\\x",
    "c:x",
)
NOT_EVERYWHERE = ("..\\x", "a\0b", "a\nb", "\x1b[2J", "\udcff", "CON", "con", "nul.txt", "a/AUX", "COM1", "lpt9.x")


@pytest.mark.parametrize("name", [*OUTSIDE, *NOT_EVERYWHERE])
def test_a_name_that_leads_out_of_the_folder_of_all_runs_is_refused(name, tmp_path, monkeypatch):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    with pytest.raises(UserError, match=r"^run_name .*: pass --run_name"):
        claim_run_folder(name, None, None)
    assert [path for path in tmp_path.rglob("*") if path not in (inside, inside.parent)] == []


@pytest.mark.parametrize("name", ["a", "a/b", "영화", "a b", "a..b", ".hidden", "ab:c", "console", "a.con", "x-1_2.3"])
def test_a_name_of_a_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert claim_run_folder(name, None, None).path == Path("runs") / name / "0"
    assert (tmp_path / "runs" / name / "0").is_dir()
