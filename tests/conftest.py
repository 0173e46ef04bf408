"""What the tests share: no network, a cache of their own, a tiny encoder, and a folder of invented rows."""

import os
import pkgutil
import random
import signal
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from tests.deprecations import python_warnings, raise_on_log_lines, warning_filters

settings.register_profile("textclf", deadline=None)  # the machine may be busy
settings.load_profile("textclf")
CACHE = TemporaryDirectory(prefix="textclf-tests-", ignore_cleanup_errors=True)
os.environ |= {  # before anything imports datasets or huggingface_hub, which read these once
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": os.path.join(CACHE.name, "huggingface"),
    "HF_DATASETS_CACHE": os.path.join(CACHE.name, "datasets"),
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": python_warnings(),
    "OMP_NUM_THREADS": "1",  # tiny models: threads would wait for each other far longer than they compute
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "WANDB_MODE": "offline",
}
os.environ.pop("WANDB_DATA_DIR", None)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes what it starts in the background ignore it

WORDS = {
    "negative": ["지루한", "최악의", "dull", "awful", "돈 아까운", "a waste of time"],
    "positive": ["재미있는", "최고의", "wonderful", "great", "감동적인", "a joy to watch"],
}
NEUTRAL = ["영화", "배우", "이야기 ,", "the film", "the plot", "음악은", "and", "그리고", "어제 본", "its second half"]


def pytest_configure(config):
    for line in warning_filters():
        config.addinivalue_line("filterwarnings", line)
    raise_on_log_lines()


def pytest_unconfigure():
    CACHE.cleanup()


def invented_rows(rows, seed):
    """Korean and English texts of 2 to 25 words; each label has words of its own."""
    draw = random.Random(seed)
    for i in range(rows):
        label = ("negative", "positive")[i % 2]
        words = [draw.choice(WORDS[label]), *draw.choices(NEUTRAL, k=draw.choice([1, 2, 3, 5, 8, 20]))]
        draw.shuffle(words)
        yield f"{' '.join(words)} {i}", label


def real_texts():
    """The beginnings of two BBC News articles of each topic, as long as 20 to 290 characters."""
    from textclf.data import BBCNewsDataModule

    rows = BBCNewsDataModule().rows("train")
    chosen = {label: i for i, label in reversed(list(enumerate(rows["label"])))}
    places = sorted({*chosen.values(), *(place + 7 for place in chosen.values())})
    return [rows[place]["text"][: 20 + 30 * i] for i, place in enumerate(places)]


LEFT_OUT = (
    "textclf.evaluation.figures.report.draw_report",
    "textclf.evaluation.pages.report_page.write_report_page",
)
"""What a run draws and writes after its report, each of which takes longer than a run of a tiny model."""


@pytest.fixture(scope="session", autouse=True)
def nothing_drawn():
    """Runs in this process draw no figures and write no page, except in modules that use `all_drawn`."""
    with pytest.MonkeyPatch.context() as patch:
        for path in LEFT_OUT:
            patch.setattr(path, lambda *_: [])
        yield patch


@pytest.fixture(scope="module")
def all_drawn(nothing_drawn):
    """The runs of a module draw their figures and write their pages."""
    stubs = {path: pkgutil.resolve_name(path) for path in LEFT_OUT}
    nothing_drawn.undo()
    yield
    for path, stub in stubs.items():
        nothing_drawn.setattr(path, stub)


@pytest.fixture(scope="module")
def rows_folder(tmp_path_factory):
    """A folder with train.csv, validation.csv and test.csv: columns `text` and `label`, both labels alternating."""
    folder = tmp_path_factory.mktemp("rows")
    for seed, (split, rows) in enumerate({"train": 60, "validation": 20, "test": 21}.items()):
        lines = ["text,label", *(f'"{text}",{label}' for text, label in invented_rows(rows, seed))]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """A folder with a BERT of two layers with random weights, and a tokenizer trained on invented lines."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast

    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in names}
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)  # Hangul stays whole
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=list(special.values()), show_progress=False)
    tokenizer.train_from_iterator((text for text, _ in invented_rows(500, seed=9)), trainer)
    marks = [(mark, tokenizer.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=tokenizer.token_to_id("[PAD]"),
    )
    folder = tmp_path_factory.mktemp("encoder")
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, model_input_names=inputs, **special
    )
    whole.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    return folder
