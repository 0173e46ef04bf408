"""Labels as a tree of tokens: what two labels begin with is run once.

The root stands for the prompt's last token. A node is *inner* if a token follows it in some label; only inner nodes
are run through the model. An edge leads from a node to a next token; what the model thinks of that token is read at the
node. The labels `a b`, `a c d` and `e` give

    root -- a -- b         inner nodes: a, c
         |    `- c -- d    edges: root>a, root>e, a>b, a>c, c>d
         `- e
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chain:
    """A run of inner nodes with no fork before its last.

    Attributes:
        nodes: First inner node, and one past the last.
        then: Chains that continue from the last node.
    """

    nodes: tuple[int, int]
    then: tuple[Chain, ...]


@dataclass(frozen=True)
class LabelTrie:
    """Labels as a tree of tokens.

    "Reads" are the positions whose logits are needed: read 0 is the root, read i + 1 is inner node i.

    Attributes:
        tokens: Token of each inner node, depth first, shape (nodes,).
        depths: Depth of each inner node, 1 below the root, shape (nodes,).
        ancestors: True where the column's node is an ancestor of the row's node or the node itself, (nodes, nodes).
        reads: Where each edge is read, ascending, shape (edges,).
        edge_tokens: The token that each edge leads to, shape (edges,).
        members: 1 where a label goes over an edge, float64, shape (edges, labels).
        chains: Inner nodes below the root as chains.
        longest: Number of tokens of the longest label.
    """

    tokens: Tensor
    depths: Tensor
    ancestors: Tensor
    reads: Tensor
    edge_tokens: Tensor
    members: Tensor
    chains: tuple[Chain, ...]
    longest: int

    @property
    def nodes(self) -> int:
        """Number of inner nodes."""
        return len(self.tokens)

    def edges(self, first: int, last: int) -> slice:
        """Edges that are read at the reads `first` to `last`, the last one not among them."""
        start, stop = torch.searchsorted(self.reads, torch.tensor([first, last])).tolist()
        return slice(start, stop)

    def totals(self, edge_values: Tensor) -> Tensor:
        """Sums of each label's edges: (batch, edges) to float64 (batch, labels)."""
        return edge_values.double().cpu() @ self.members


def build_trie(labels: Sequence[Sequence[int]]) -> LabelTrie:
    """Builds the tree of labels given as tokens, at least one each."""
    children: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for label in labels:
        for end in range(1, len(label) + 1):
            following = children.setdefault(tuple(label[: end - 1]), [])
            if tuple(label[:end]) not in following:
                following.append(tuple(label[:end]))
    inner = list(_depth_first((), children))
    number = {node: i for i, node in enumerate(inner)}
    ancestors = torch.zeros(len(inner), len(inner), dtype=torch.bool)
    for node, i in number.items():
        ancestors[i, [number[node[:end]] for end in range(1, len(node) + 1)]] = True
    edges = [child for node in [(), *inner] for child in children[node]]
    edge_number = {edge: i for i, edge in enumerate(edges)}
    members = torch.zeros(len(edges), len(labels), dtype=torch.float64)
    for column, label in enumerate(labels):
        members[[edge_number[tuple(label[:end])] for end in range(1, len(label) + 1)], column] = 1
    return LabelTrie(
        tokens=torch.tensor([node[-1] for node in inner], dtype=torch.long),
        depths=torch.tensor([len(node) for node in inner], dtype=torch.long),
        ancestors=ancestors,
        reads=torch.tensor([number[edge[:-1]] + 1 if edge[:-1] else 0 for edge in edges]),
        edge_tokens=torch.tensor([edge[-1] for edge in edges]),
        members=members,
        chains=_chains((), children, number),
        longest=max(len(label) for label in labels),
    )


def _depth_first(
    node: tuple[int, ...], children: dict[tuple[int, ...], list[tuple[int, ...]]]
) -> Iterator[tuple[int, ...]]:
    """Inner nodes below a node; a parent stands before its children."""
    for child in children[node]:
        if child in children:
            yield child
            yield from _depth_first(child, children)


def _chains(
    node: tuple[int, ...], children: dict[tuple[int, ...], list[tuple[int, ...]]], number: dict[tuple[int, ...], int]
) -> tuple[Chain, ...]:
    """Chains that start below a node."""
    chains = []
    for start in (child for child in children[node] if child in children):
        end = start
        while len(below := [child for child in children[end] if child in children]) == 1:
            end = below[0]
        chains.append(Chain((number[start], number[end] + 1), _chains(end, children, number)))
    return tuple(chains)


def common_prefix(rows: Sequence[list[int]]) -> int:
    """Number of leading tokens that all rows share."""
    low, high = min(rows), max(rows)  # in dictionary order: what these two share, all rows between them share
    return next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))


def one_begins_another(rows: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Pairs (i, j) where row i is the beginning of row j, or equal to it with i < j."""
    order = sorted(range(len(rows)), key=lambda i: (list(rows[i]), i))
    pairs = []
    for position, i in enumerate(order):
        for j in order[position + 1 :]:
            if list(rows[j][: len(rows[i])]) != list(rows[i]):
                break
            pairs.append((i, j))
    return pairs
