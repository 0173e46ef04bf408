"""Embeds texts with a frozen encoder of sentence-transformers, and caches the vectors on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from textclf.backbones.classification_head import READ_PADDING
from textclf.backbones.compatibility import check_match, refuse_unembedded, token_limit
from textclf.backbones.weights import load_config, skeleton
from textclf.data.batching import batch_starts
from textclf.embeddings.cache import Embedded, VectorCache
from textclf.embeddings.sentence_transformer import configuration, set_dtype, set_pooling
from textclf.embeddings.settings import EmbeddingSettings
from textclf.errors import UserError
from textclf.hashing import text_hash, text_key, value_hash, weights_hash
from textclf.hub import cache_folder, loading, local_reference
from textclf.scoring.look_alikes import look_alikes
from textclf.version import __version__

WINDOW = 8192
"""Number of texts that are tokenized and sorted together, for little padding."""
WINDOW_TOKENS = 512 * WINDOW
"""Maximum number of tokens in a window: all its texts are padded to the longest, and long ones take much memory."""
KEPT_TOGETHER = 512
"""Number of vectors that are written to the cache at once: an interruption loses no more."""
BUDGETS = {"cpu": 2048, "cuda": 16384}
"""Tokens in a padded batch, by device type."""
EQUAL_LENGTHS = "batches of one length"
RIGHT_PADDING = "padded on the right"
SPECIAL_TOKENS = "special tokens in texts are text"
"""Differences from how sentence-transformers would run an encoder; part of the cache's key."""
REMEDY = "pass --model.pretrained with a hub id that can be reached, a folder, or package://module/path"


class _Batch(NamedTuple):
    """A padded batch of texts.

    Attributes:
        indices: Index of each text.
        features: What the encoder takes.
        lengths: Tokens of each text.
        cut: Tokens that were cut off each.
    """

    indices: list[int]
    features: dict[str, Any]
    lengths: list[int]
    cut: list[int]


def _check_announced(reference: str) -> None:
    """Refuses a model in a folder that would not fit into memory; its first module may be of another kind."""
    config = Path(local_reference(reference), "config.json")
    if config.is_file() and b'"model_type"' in config.read_bytes():
        skeleton("AutoModel", load_config(reference), reference)


class Embedder:
    """Any model that sentence-transformers loads, frozen; a plain transformers encoder gets mean pooling.

    Vectors are cached on disk by a hash of the encoder's weights, tokenizer and configuration, of the settings, and of
    the text. A text's vector depends on the other texts of its batch by rounding; the cached vector is always used.

    Attributes:
        uses_cache: Whether vectors are read from the cache, and written to it.

    Source: Reimers and Gurevych, 2019, https://arxiv.org/abs/1908.10084.
    """

    def __init__(
        self, pretrained: str, max_length: int | None, settings: EmbeddingSettings, folder: Path | None = None
    ) -> None:
        """Loads the encoder, onto a GPU if there is one.

        Args:
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Maximum length of a text in tokens; None for that of the encoder's configuration.
            settings: All other settings.
            folder: Folder of the cache; next to the encoded rows by default.

        Raises:
            UserError: It cannot be loaded, or does not support the settings.
        """
        from sentence_transformers import SentenceTransformer

        self.settings = settings
        _check_announced(pretrained)
        with loading("encoder", pretrained, REMEDY):
            # In the dtype of its file, so that the hash of the weights does not depend on the hardware.
            self.model = SentenceTransformer(
                local_reference(pretrained), model_kwargs={"dtype": "auto"}, trust_remote_code=False
            )
        self.model.eval().requires_grad_(False)
        prompt = self._resolved_prompt()
        if settings.pooling is not None:
            set_pooling(self.model, settings.pooling, pretrained)
        self.weights = weights_hash(self.model)
        # Before the first use, which changes settings of a tokenizer. A configuration may hold any objects.
        facts = json.dumps(configuration(self.model), sort_keys=True, default=str)
        self.configuration = text_hash(facts)[:32]
        self._check_tokenizer(pretrained)
        self._set_length(pretrained, max_length)
        self.dtype = set_dtype(self.model, settings.dtype)
        dimension = self.model.get_embedding_dimension()
        assert dimension is not None
        self.dimension = min(dimension, settings.truncate_dim or dimension)
        self.folder = folder or default_folder()
        self.reused_texts = 0
        self.uses_cache = True
        self._set_prompt(prompt)

    def with_prompt(self, prompt: str) -> Embedder:
        """The same encoder with another prompt, and a cache of its own.

        Args:
            prompt: Text before each text; may be empty.
        """
        other = copy(self)
        other._set_prompt(prompt)
        return other

    def _set_prompt(self, prompt: str | None) -> None:
        self.prompt = prompt or None
        self.key = self._key()
        self.cache = VectorCache(self.folder / f"{self.key}.sqlite", self.dimension)

    def _key(self) -> str:
        """A hash of everything that a vector depends on, apart from the text."""
        settings = asdict(self.settings)
        del settings["max_batch_tokens"]
        del settings["prompt_name"]
        settings["prompt"] = self.prompt
        settings["dtype"] = self.dtype
        settings["max_length"] = self.model.max_seq_length
        facts = [__version__, self.weights, self.configuration, settings, *self._differences]
        return value_hash(facts)[:32]

    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        """Embeds the texts that are not in the cache, with a progress bar for many texts in a terminal.

        Args:
            texts: Any number of texts; repeated ones are embedded once.

        Returns:
            The vectors of all texts, in order.
        """
        keys = [text_key(text) for text in texts]
        by_key = dict(zip(keys, texts, strict=True))
        found = self.cache.get(list(by_key)) if self.uses_cache else {}
        self.reused_texts += len(found)
        missing = {key: text for key, text in by_key.items() if key not in found}
        new: dict[bytes, Embedded] = {}
        for key, value in self._compute_all(missing):
            new[key] = value
            is_last = len(found) + len(new) == len(by_key)
            if len(new) >= KEPT_TOGETHER or is_last:
                found |= self.cache.add(new) if self.uses_cache else new
                new = {}
        return [found[key] for key in keys]

    def matrix(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of texts as float32, shape `(texts, dimension)`."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.stack([found.vector for found in self.embed(texts)])

    def _compute_all(self, missing: dict[bytes, str]) -> Iterator[tuple[bytes, Embedded]]:
        """Yields the vectors of texts by key, window by window, the longest texts first."""
        from tqdm.auto import tqdm

        longest_first = sorted(missing, key=lambda key: -len(missing[key]))
        window_starts = self._window_starts([len(missing[key]) for key in longest_first])
        no_bar = None if len(missing) > KEPT_TOGETHER else True  # with None, tqdm shows a bar only in a terminal
        with tqdm(total=len(missing), unit="text", disable=no_bar) as bar:
            for start, stop in pairwise(window_starts):
                keys = longest_first[start:stop]
                for i, value in self.compute([missing[key] for key in keys]):
                    yield keys[i], value
                    bar.update()

    def _window_starts(self, characters: list[int]) -> list[int]:
        """Starts of windows among texts, the longest first; each character is counted as a token."""
        longest = min(self.model.max_seq_length or WINDOW_TOKENS, WINDOW_TOKENS)  # some tokenizers have 10 ** 30
        tokens = np.array(characters, dtype=np.int64) + len(self.prompt or "")
        shortest = WINDOW_TOKENS // WINDOW  # so that a window has at most WINDOW texts
        tokens = np.maximum(np.minimum(tokens, longest), shortest)
        return batch_starts(tokens, 1, WINDOW_TOKENS)

    @torch.inference_mode()
    def compute(self, texts: Sequence[str]) -> Iterator[tuple[int, Embedded]]:
        """Embeds at most a window of texts, without the cache.

        Args:
            texts: The texts, in any order.

        Yields:
            The index of each text, and its vector; the longest texts first.
        """
        for batch in self._batches(texts):
            if not batch.lengths[0]:  # texts without a token
                vectors = np.zeros((len(batch.indices), self.dimension), dtype=np.float32)
            else:
                vectors = self._vectors(batch.features)
            for i, vector, length, cut in zip(batch.indices, vectors, batch.lengths, batch.cut, strict=True):
                yield i, Embedded(vector, length, cut)

    def _vectors(self, features: dict[str, Any]) -> np.ndarray:
        """Runs the encoder on a batch; float32, shape `(batch, dimension)`."""
        inputs = {}
        for name, value in features.items():
            inputs[name] = value.to(self.model.device) if isinstance(value, Tensor) else value
        # Without a trainer's autocast, which is not part of the cache's key.
        with torch.autocast(self.model.device.type, enabled=False):
            output: Tensor = self.model(inputs)["sentence_embedding"]
        vectors = output.float()[:, : self.dimension]
        if self.settings.normalize:
            vectors = nn.functional.normalize(vectors, dim=1)
        return vectors.cpu().numpy()

    def _batches(self, texts: Sequence[str]) -> Iterator[_Batch]:
        """Tokenizes texts, sorts them by length, and divides them into batches, the longest texts first."""
        texts = self._as_texts(texts)
        features = self.model.preprocess(texts, prompt=self.prompt)
        if self._unembedded:
            refuse_unembedded(features["input_ids"].tolist(), self._unembedded)
        mask = features.get("attention_mask")
        if mask is None or mask.ndim != 2:  # no tokens, or no padding: sorting would save nothing
            count = len(texts)
            yield _Batch(list(range(count)), features, [1] * count, [0] * count)
            return
        lengths = mask.sum(dim=1).numpy()
        cut = self._count_cut(texts, lengths)
        order = np.argsort(-lengths, kind="stable")
        budget = self.settings.max_batch_tokens or BUDGETS.get(self.model.device.type, BUDGETS["cpu"])
        starts = batch_starts(lengths[order], 1, budget)
        length_changes = (np.flatnonzero(np.diff(lengths[order])) + 1).tolist()
        if EQUAL_LENGTHS in self._differences:
            starts = sorted({*starts, *length_changes})
        elif not lengths.all():  # texts without a token form a batch of their own, which is not run
            starts = sorted({*starts, *length_changes[-1:]})
        padded_left = not bool(mask[lengths > 0, :1].all())
        for start, stop in pairwise(starts):
            indices = order[start:stop]
            longest = int(lengths[indices[0]])
            columns = slice(-longest, None) if padded_left else slice(longest)
            batch_features = {}
            for name, value in features.items():
                per_token = isinstance(value, Tensor) and value.shape == mask.shape
                batch_features[name] = value[indices][:, columns] if per_token else value
            yield _Batch(indices.tolist(), batch_features, lengths[indices].tolist(), cut[indices].tolist())

    def _as_texts(self, texts: Sequence[str]) -> list[str]:
        """Texts in which special tokens are text: for a prompt with special tokens of its own, they are divided."""
        from transformers import PreTrainedTokenizerBase

        tokenizer = self.model.tokenizer
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            if hasattr(tokenizer, "encode_special_tokens"):  # of a model of static vectors
                tokenizer.encode_special_tokens = True
            return list(texts)
        special = look_alikes(tokenizer)
        # An attribute, as sentence-transformers calls the tokenizer.
        tokenizer.split_special_tokens = special.pattern.search(self.prompt or "") is None
        if tokenizer.split_special_tokens:
            return [special.as_text(text) for text in texts]
        return [special.divided(text) for text in texts]

    def _count_cut(self, texts: Sequence[str], lengths: np.ndarray) -> np.ndarray:
        """Number of tokens of each text that are cut off at the maximum length."""
        cut = np.zeros_like(lengths)
        full = np.flatnonzero(lengths == self.model.max_seq_length)
        if len(full):
            whole = self.model.tokenizer([(self.prompt or "") + texts[int(i)] for i in full], verbose=False)
            cut[full] = [len(ids) for ids in whole["input_ids"]]
            cut[full] -= lengths[full]
        return cut

    # Loading

    def _resolved_prompt(self) -> str | None:
        """The prompt that the settings or the encoder name; None if there is none."""
        own = self.model.prompts
        name = self.settings.prompt_name or self.model.default_prompt_name
        if self.settings.prompt is not None or name is None:
            return self.settings.prompt
        if name not in own:
            known = ", ".join(own) or "none"
            raise UserError(f"embedding: there is no prompt_name {name!r}: this encoder has {known}")
        return own[name]

    def _check_tokenizer(self, pretrained: str) -> None:
        """Checks that tokenizer and weights belong together, and determines how rows are padded."""
        from transformers import PreTrainedTokenizerBase

        self._unembedded: dict[int, str] = {}
        self._token_limit: int | None = None
        self._differences: list[str] = [SPECIAL_TOKENS]
        tokenizer = self.model.tokenizer
        network = getattr(self.model[0], "auto_model", None)
        if network is None or not isinstance(tokenizer, PreTrainedTokenizerBase):
            return
        self._unembedded = check_match(tokenizer, network, pretrained)
        if tokenizer.pad_token is None or tokenizer.pad_token_id in self._unembedded:
            raise UserError(
                f"the tokenizer of {pretrained!r} has no token to pad with: give it one (tokenizer.pad_token = ...), "
                "and save it into the same folder"
            )
        self._token_limit = token_limit(network)
        if network.config.model_type in READ_PADDING:
            self._differences.append(EQUAL_LENGTHS)
        if self._token_limit is not None and tokenizer.padding_side == "left":
            tokenizer.padding_side = "right"  # absolute positions are counted from the first column on
            self._differences.append(RIGHT_PADDING)

    def _set_length(self, pretrained: str, max_length: int | None) -> None:
        limit = self._token_limit
        if max_length is None:
            own = self.model.max_seq_length
            if limit is not None and (own is None or own > limit):
                self.model.max_seq_length = limit
            return
        if limit is not None and max_length > limit:
            raise UserError(f"max_length {max_length} is more than {pretrained!r} can read: give at most {limit}")
        self.model.max_seq_length = max_length


def default_folder() -> Path:
    """The folder of cached vectors, next to the encoded rows."""
    return cache_folder() / "embeddings"
