"""Parts of `check_gpu.py`: texts per second of embeddings, NLI, and sequence-to-sequence models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from benchmarks import methods
from benchmarks.frame import Counts, Work

from gpu_checks import models
from gpu_checks.frame import Case, Row, Sizes, timed
from textclf.embeddings import Embedder, EmbeddingSettings

NEAR = {"float32": 1e-4, "auto": 0.05}
"""Largest value of 1 - cosine to the reference, by dtype; bf16 rounds."""


def embedding(sizes: Sizes) -> Iterator[Case]:
    """Vectors of texts: sentence-transformers with its defaults, then textclf."""
    folder = models.encoder(sizes, next(iter(sizes.encoders)))
    texts = models.texts(sizes.texts, sizes.words, seed=6)
    found: dict[str, np.ndarray] = {}
    yield "SentenceTransformer.encode, fp32", partial(encoded, folder, texts, found, sizes)
    for dtype in NEAR:
        yield f"Embedder, {dtype}", partial(embedded, dtype, folder, texts, found, sizes)


def encoded(folder: str, texts: Sequence[str], found: dict[str, np.ndarray], sizes: Sizes) -> Row:
    """Times the code of a plain notebook; its vectors are the reference."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device=sizes.device)

    def work() -> Counts:
        found["reference"] = model.encode(list(texts), normalize_embeddings=True)
        return {"rows": len(texts)}

    return timed("SentenceTransformer.encode, fp32", work, sizes.repeats)


def embedded(dtype: Any, folder: str, texts: Sequence[str], found: dict[str, np.ndarray], sizes: Sizes) -> Row:
    """Times `Embedder` with an empty cache, and compares with the reference."""
    kept = Path(mkdtemp(prefix="check-gpu-"))
    embedder = Embedder(folder, None, EmbeddingSettings(dtype=dtype), kept)

    def work() -> Counts:
        shutil.rmtree(kept)
        results = embedder.embed(texts)
        found[dtype] = np.stack([each.vector for each in results])
        return {"rows": len(texts), "tokens": sum(each.length for each in results)}

    row = timed(f"Embedder, {dtype}", work, sizes.repeats)
    off = float(np.abs(1 - (found[dtype] * found["reference"]).sum(1)).max())
    result = f"computed in {embedder.dtype}, kept on disk; 1 - cosine to the first is {off:.2g} at most"
    return Row(row.name, result, off <= NEAR[dtype], row.seconds, {**row.counts, "off": off})


def nli(sizes: Sizes) -> Iterator[Case]:
    """Ten labels by NLI: transformers' pipeline, then textclf."""
    folder = models.entailment(sizes, list(sizes.encoders)[-1])
    texts = models.texts(sizes.texts // 8, sizes.words, seed=7)
    yield from timed_contenders(methods.nli(texts, folder, sizes.few_texts), sizes)


def seq2seq(sizes: Sizes) -> Iterator[Case]:
    """Likelihoods of ten labels by an encoder-decoder: a pass per label, then textclf."""
    folder = models.encoder_decoder(sizes)
    texts = models.texts(sizes.texts // 8, sizes.words, seed=8)
    yield from timed_contenders(methods.seq2seq(texts, folder, sizes.few_texts), sizes)


def timed_contenders(contenders: dict[str, Work], sizes: Sizes) -> Iterator[Case]:
    """A case per contender; their probabilities were compared during the set-up."""
    for name, work in contenders.items():
        yield name, partial(timed, name, work, sizes.repeats, "fp32 agrees with the plain loop within 1e-4")
