"""Labels as a tree of tokens: what two labels begin with is run once.

The root is the prompt's last token. A node is *inner* if a token follows it in some label; only inner nodes are run
through the model. An edge leads from a node to a next token; the likelihood of that token is read at the node. The
labels `a b`, `a c d` and `e` give

    root -- a -- b         inner nodes: a, c
         |    `- c -- d    edges: root>a, root>e, a>b, a>c, c>d
         `- e
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Node: TypeAlias = tuple[int, ...]
"""A node of the tree while it is built: the tokens on the way from the root to it."""


@dataclass(frozen=True)
class Chain:
    """A run of consecutive inner nodes with no fork before the last one.

    Attributes:
        nodes: Number of the first inner node, and one past the last.
        then: Chains that continue from the last node.
    """

    nodes: tuple[int, int]
    then: tuple[Chain, ...]


@dataclass(frozen=True)
class LabelTrie:
    """Labels as a tree of tokens.

    A *read* is a position whose logits are needed: read 0 is the root, read i + 1 is inner node i.

    Attributes:
        tokens: Token of each inner node, depth first, shape (nodes,).
        depths: Depth of each inner node, 1 below the root, shape (nodes,).
        ancestors: True where the column's node is an ancestor of the row's node or the node itself, (nodes, nodes).
        reads: Read of each edge, ascending, shape (edges,).
        edge_tokens: The token that each edge leads to, shape (edges,).
        members: 1 where an edge belongs to a label, float64, shape (edges, labels).
        chains: The inner nodes below the root as chains.
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
        """The edges of the reads from `first` to `last`, without `last`."""
        start, stop = torch.searchsorted(self.reads, torch.tensor([first, last])).tolist()
        return slice(start, stop)

    def totals(self, edge_values: Tensor) -> Tensor:
        """Sum over each label's edges: (batch, edges) to float64 (batch, labels)."""
        return edge_values.double().cpu() @ self.members


def build_trie(labels: Sequence[Sequence[int]]) -> LabelTrie:
    """Builds the tree of labels given as token ids, at least one each."""
    children = _children(labels)
    inner = list(_depth_first((), children))
    number = {node: i for i, node in enumerate(inner)}
    ancestors = torch.zeros(len(inner), len(inner), dtype=torch.bool)
    for node, i in number.items():
        for start in _path(node):
            ancestors[i, number[start]] = True
    edges = [child for node in [(), *inner] for child in children[node]]
    edge_number = {edge: i for i, edge in enumerate(edges)}
    members = torch.zeros(len(edges), len(labels), dtype=torch.float64)
    for column, label in enumerate(labels):
        for start in _path(label):
            members[edge_number[start], column] = 1
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


def _path(tokens: Sequence[int]) -> list[Node]:
    """The nodes on the path from the root to the end of some tokens: of `a b c`, `a`, `a b` and `a b c`."""
    return [tuple(tokens[:end]) for end in range(1, len(tokens) + 1)]


def _children(labels: Sequence[Sequence[int]]) -> dict[Node, list[Node]]:
    """The children of the root and of each inner node, in the order of the labels; a leaf has no entry."""
    children: dict[Node, list[Node]] = {}
    for label in labels:
        for node in _path(label):
            siblings = children.setdefault(node[:-1], [])
            if node not in siblings:
                siblings.append(node)
    return children


def _inner(node: Node, children: dict[Node, list[Node]]) -> list[Node]:
    """The inner nodes among the children of a node."""
    return [child for child in children[node] if child in children]


def _depth_first(node: Node, children: dict[Node, list[Node]]) -> Iterator[Node]:
    """Inner nodes below a node; a parent comes before its children."""
    for child in _inner(node, children):
        yield child
        yield from _depth_first(child, children)


def _chains(node: Node, children: dict[Node, list[Node]], number: dict[Node, int]) -> tuple[Chain, ...]:
    """Chains that start below a node."""
    chains = []
    for start in _inner(node, children):
        end = start
        while len(below := _inner(end, children)) == 1:
            end = below[0]
        chains.append(Chain((number[start], number[end] + 1), _chains(end, children, number)))
    return tuple(chains)


# Beginnings that rows of tokens share


def common_prefix(rows: Sequence[list[int]]) -> int:
    """Number of leading tokens that all rows share."""
    # In dictionary order, all rows are between these two, so what these share, all share.
    low, high = min(rows), max(rows)
    shared = 0
    for a, b in zip(low, high, strict=False):
        if a != b:
            break
        shared += 1
    return shared


def prefix_pairs(rows: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Pairs (i, j) where row i is a prefix of row j, or equal to it with i < j."""
    # In dictionary order, the rows that a row is a prefix of follow it without a gap.
    order = sorted(range(len(rows)), key=lambda i: (list(rows[i]), i))
    pairs = []
    for position, i in enumerate(order):
        for j in order[position + 1 :]:
            if list(rows[j][: len(rows[i])]) != list(rows[i]):
                break
            pairs.append((i, j))
    return pairs
