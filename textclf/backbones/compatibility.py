"""Checks that a tokenizer and a network belong together, for every method that loads a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from torch import nn

from textclf.errors import UserError
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase

POSITION_TABLES = ("position_embeddings", "embed_positions", "positions_embed", "wpe")
"""Names of the tables of absolute positions in the models of transformers."""


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, reference: str) -> None:
    """Refuses a tokenizer that has only special tokens.

    transformers makes such a tokenizer, to which every word is unknown, if a model's folder has no tokenizer files.

    Raises:
        UserError: It has only special tokens.
    """
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    # Some of these tokenizers have one token of their own: the mark of a word's beginning.
    if len(tokenizer.get_vocab().keys() - special) <= 1:
        raise UserError(
            f"{reference!r} has no tokenizer: save the one that it was trained with into the same folder "
            "(tokenizer.save_pretrained), or name a model that comes with one"
        )


def check_match(tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel, reference: str) -> dict[int, str]:
    """Checks a tokenizer against a model, and adapts it to the model's configuration.

    Segment ids that the model has no embeddings for are left out. A tokenizer without a padding token, or with another
    one than the model's head looks for, gets the model's padding token if that is a special token, else another special
    token: scores here do not depend on it, but those of an exported folder do.

    Args:
        tokenizer: Changed in place.
        network: The model, or its `skeleton`.
        reference: Of the model, for messages.

    Returns:
        What `check_embeddings` gives.

    Raises:
        UserError: They do not belong together.
    """
    check_vocabulary(tokenizer, reference)
    unembedded = check_embeddings(tokenizer, network, reference)
    _check_end(tokenizer, network, reference)
    _drop_segments(tokenizer, network)
    _set_padding(tokenizer, network, unembedded)
    return unembedded


def check_embeddings(tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel, reference: str) -> dict[int, str]:
    """Refuses a tokenizer with tokens that a model has no embeddings for.

    Added tokens without embeddings are accepted as long as no text contains them: some tokenizers have added tokens
    that are never used.

    Returns:
        The added tokens without embeddings, by id.

    Raises:
        UserError: Another token has no embedding, or one that is part of every text.
    """
    rows = embedded_tokens(network)
    if rows is None:
        return {}
    unembedded = {token_id: token for token, token_id in tokenizer.get_vocab().items() if token_id >= rows}
    added = tokenizer.get_added_vocab()
    in_every_text = tokenizer("a")["input_ids"] if unembedded else []
    for token_id, token in unembedded.items():
        if token not in added or token_id in in_every_text:
            raise UserError(
                f"the tokenizer of {reference!r} has token ids up to {max(unembedded)}, but the model has embeddings "
                f"for {rows} tokens: they do not belong together; name a folder that holds both of one model"
            )
    return unembedded


def refuse_unembedded(rows: Iterable[Sequence[int]], unembedded: Mapping[int, str]) -> None:
    """Refuses texts with tokens that a model has no embeddings for.

    Args:
        rows: Token ids of each text.
        unembedded: The tokens without embeddings, by id, from `check_embeddings`.

    Raises:
        UserError: A text contains one.
    """
    if not unembedded:
        return
    found: set[int] = set()
    for ids in rows:
        found.update(unembedded.keys() & ids)
    if found:
        raise UserError(
            f"a text holds {unembedded[min(found)]!r}, an added token that the model has no embedding for: take it out "
            "of the texts, or name a model that was trained with it"
        )


def embedded_tokens(network: PreTrainedModel) -> int | None:
    """Number of tokens that a model has embeddings for; None if it has no table of them (CANINE hashes)."""
    try:
        table: Any = network.get_input_embeddings()
    except NotImplementedError:
        return None
    weight = getattr(table, "weight", None)
    if weight is None:
        return None
    return len(weight)


def token_limit(network: PreTrainedModel) -> int | None:
    """Number of tokens that a model has absolute positions for; None if its positions are unlimited."""
    # The first rows of a table may not be positions: those up to the padding's, or those of an offset.
    limits = [rows - unused for rows, unused in _position_tables(network)]
    declared = getattr(network.config, "max_position_embeddings", None)
    if limits and declared:
        limits.append(int(declared))  # some tables have more rows than the model reads
    return min(limits, default=None)


def _position_tables(network: PreTrainedModel) -> Iterator[tuple[int, int]]:
    """Yields the number of rows of each table of positions, and how many of them come before the first position."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITION_TABLES:
            last_padding_row = -1 if module.padding_idx is None else module.padding_idx
            yield module.num_embeddings, int(getattr(module, "offset", last_padding_row + 1))
    for name, buffer in network.named_buffers():
        if name.rpartition(".")[2] in POSITION_TABLES and buffer.ndim == 2:
            yield len(buffer), 0


def padding_id(network: PreTrainedModel) -> int | None:
    """The padding token of a model's configuration; None if it names none, or one without an embedding."""
    padding: int | None = network.config.get_text_config().pad_token_id
    rows = embedded_tokens(network)
    if padding is None or padding < 0 or (rows is not None and padding >= rows):
        return None
    return padding


def _check_end(tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel, reference: str) -> None:
    """Refuses an encoder-decoder classifier, whose head reads the end token, if its tokenizer writes none."""
    config = network.config
    if not (getattr(config, "is_encoder_decoder", False) and "ForSequenceClassification" in type(network).__name__):
        return
    if config.eos_token_id not in tokenizer("a")["input_ids"]:
        raise UserError(
            f"the tokenizer of {reference!r} does not end texts with the model's end token (id {config.eos_token_id}): "
            "they do not belong together; name a folder that holds both of one model"
        )


def _drop_segments(tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel) -> None:
    """Stops a tokenizer from returning segment ids that the model has no embeddings for."""
    segments = tokenizer("a", "a").get("token_type_ids")
    if segments is None:
        return
    known = getattr(network.config, "type_vocab_size", None)
    if takes(network, "token_type_ids") and (known is None or max(segments) < known):
        return
    names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    tokenizer.model_input_names = names
    tokenizer.init_kwargs["model_input_names"] = names  # what `save_pretrained` writes


def takes(network: PreTrainedModel, name: str) -> bool:
    """Whether a model's `forward` has an argument of this name."""
    return name in _arguments(type(network).forward)


@lru_cache(maxsize=128)  # asked in each forward pass
def _arguments(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _set_padding(tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel, unembedded: Mapping[int, str]) -> None:
    """Gives a tokenizer the model's padding token where it has none, or where the head looks for it."""
    model_padding = padding_id(network)
    has_padding = tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in unembedded
    reads_last_token = hasattr(network, "score")  # transformers' name of heads on the last token
    if has_padding and (tokenizer.pad_token_id == model_padding or not reads_last_token):
        return
    # A token that is not special must not become one: texts would be cut at it.
    special = [token_id for token_id in tokenizer.all_special_ids if token_id not in unembedded]
    if model_padding in special:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model_padding)
    elif not has_padding and special:
        end = tokenizer.eos_token_id
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end if end in special else special[0])
