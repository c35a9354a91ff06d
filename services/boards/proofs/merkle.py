"""A Merkle tree over the entries of a board, and proofs that an entry is in it. Pure.

The tree is that of RFC 6962 (2.1), with SHA-256: leaves are hashed with the prefix 0x00 and nodes with 0x01, so that neither
passes for the other, and a tree of n leaves splits at the largest power of two below n. The number of leaves is no part of
the root: a signature must cover both, and `root_of` needs both.

A tree is stored in tiles of 256 hashes (C2SP tlog-tiles; R. Cox, "Transparent Logs for Skeptical Clients"): tile `number` of
level 0 has the leaves from 256 * number, and a hash of level n + 1 is the root of a full tile of level n. A path is computed
from at most two tiles per level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

_HEIGHT: Final = 8
TILE: Final = 1 << _HEIGHT
"""Hashes in a full tile."""
HASH_BYTES: Final = 32


class Tile(NamedTuple):
    """Up to 256 consecutive hashes of a level."""

    level: int
    number: int
    hashes: Sequence[bytes]


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\0" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others."""
    return hashlib.sha256(b"\1" + left + right).digest()


class TreeBuilder:
    """Builds a tree from its leaves in order. Memory is one open tile per level: 8 KiB for each factor of 256."""

    def __init__(self) -> None:
        self._open: list[list[bytes]] = [[]]
        self._full = [0]
        self.size = 0

    def append(self, leaf: bytes) -> Iterator[Tile]:
        """Add the hash of the next leaf, and yield the tiles that it fills."""
        self.size += 1
        level = 0
        while True:
            self._open[level].append(leaf)
            if len(self._open[level]) < TILE:
                return
            hashes, self._open[level] = self._open[level], []
            yield Tile(level, self._full[level], hashes)
            self._full[level] += 1
            leaf = _complete(hashes)
            level += 1
            if level == len(self._open):
                self._open.append([])
                self._full.append(0)

    def partial_tiles(self) -> Iterator[Tile]:
        """Yield the tiles that the last leaf left open."""
        for level, hashes in enumerate(self._open):
            if hashes:
                yield Tile(level, self._full[level], hashes)

    def root(self) -> bytes:
        """Return the root; of a tree without leaves, the hash of nothing."""
        root: bytes | None = None
        for hashes in self._open:
            end = len(hashes)
            while end:
                width = end & -end
                subtree = _complete(hashes[end - width : end])
                root = subtree if root is None else node_hash(subtree, root)
                end -= width
        return hashlib.sha256(b"").digest() if root is None else root


def tiles_of_path(index: int, size: int) -> set[tuple[int, int]]:
    """Return level and number of each tile that the path of a leaf is computed from."""
    tiles = set()
    level, count = 0, size
    while count:
        tiles.add((level, min(index, count - 1) // TILE))
        if count % TILE:
            tiles.add((level, count // TILE))
        level, index, count = level + 1, index // TILE, count // TILE
    return tiles


def path_of(index: int, size: int, hash_at: Callable[[int, int], bytes]) -> list[bytes]:
    """Return the siblings of leaf `index` (from 0) of a tree of `size` leaves, from the leaf to the root.

    They are at most `(size - 1).bit_length()` hashes: 20, or 640 bytes, of a million leaves. `hash_at` returns a hash by level
    and index. Raises ValueError for a leaf that the tree does not have.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    siblings = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append(_range_hash(middle, end, hash_at))
            end = middle
        else:
            siblings.append(_range_hash(start, middle, hash_at))
            start = middle
    siblings.reverse()
    return siblings


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root of a tree of `size` leaves, of which leaf `index` has this hash and path (RFC 9162, 2.1.3.2).

    Raises ValueError if no leaf of such a tree has a path of this form.
    """
    if not 0 <= index < size:
        raise ValueError("the tree is too small for this place")
    inner = (index ^ (size - 1)).bit_length()
    if len(path) != inner + (index >> inner).bit_count():
        raise ValueError("the path has the wrong length")
    if any(len(sibling) != HASH_BYTES for sibling in path):
        raise ValueError("the path has a hash of the wrong length")
    node = leaf
    for level, sibling in enumerate(path):
        is_right = level >= inner or index >> level & 1
        node = node_hash(sibling, node) if is_right else node_hash(node, sibling)
    return node


def _range_hash(start: int, end: int, hash_at: Callable[[int, int], bytes]) -> bytes:
    """Return the root of the leaves from `start`, which is a multiple of their number rounded up to a power of two."""
    width = end - start
    if width & (width - 1):
        middle = start + _split(width)
        return node_hash(_range_hash(start, middle, hash_at), _range_hash(middle, end, hash_at))
    level, height = divmod(width.bit_length() - 1, _HEIGHT)
    first = start >> (_HEIGHT * level)
    return _complete([hash_at(level, first + offset) for offset in range(1 << height)])


def _split(width: int) -> int:
    """Return the largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def _complete(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[place], hashes[place + 1]) for place in range(0, len(hashes), 2)]
    return hashes[0]
