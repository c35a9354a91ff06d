"""The Merkle tree against its definition: RFC 6962, 2.1, written down as it stands there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.boards.proofs.merkle import TILE, TreeBuilder, leaf_hash, path_of, root_of, tiles_of_path

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100, 255, 256, 257, 300, 511, 512, 513, 65_535, 65_536, 65_537, 66_000]


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + defined_root(leaves[:split]) + defined_root(leaves[split:])).digest()


class Tree:
    """A tree with its stored tiles."""

    def __init__(self, size: int) -> None:
        self.leaves = [leaf_hash(str(place).encode()) for place in range(size)]
        builder = TreeBuilder()
        tiles = [tile for leaf in self.leaves for tile in builder.append(leaf)] + list(builder.partial_tiles())
        self.tiles = {(tile.level, tile.number): tile.hashes for tile in tiles}
        assert len(tiles) == len(self.tiles)
        self.root = builder.root()

    def path(self, index: int) -> list[bytes]:
        """Return a path from the tiles that are read for it, and no others."""
        read = {place: self.tiles[place] for place in tiles_of_path(index, len(self.leaves))}
        return path_of(index, len(self.leaves), lambda level, place: read[level, place // TILE][place % TILE])


@pytest.mark.parametrize("size", [0, *SIZES])
def test_root_is_that_of_the_definition(size: int) -> None:
    tree = Tree(size)
    assert tree.root == defined_root(tree.leaves)


@pytest.mark.parametrize("size", SIZES)
def test_path_of_every_leaf_leads_to_the_root(size: int) -> None:
    """Of a large tree, that of the leaves about its tiles' edges and of some between."""
    tree = Tree(size)
    places = (
        range(size)
        if size <= 600
        else {*range(3), *range(0, size, 1021), *range(TILE - 2, TILE + 2), *range(size - 3, size)}
    )
    for index in places:
        path = tree.path(index)
        assert root_of(tree.leaves[index], index, size, path) == tree.root
        assert len(path) <= (size - 1).bit_length()


@given(st.integers(1, 700), st.data())
def test_no_other_leaf_place_size_or_path_leads_to_the_root(size: int, data: st.DataObject) -> None:
    tree = Tree(size)
    index = data.draw(st.integers(0, size - 1))
    leaf, path = tree.leaves[index], tree.path(index)

    def holds(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bool:
        try:
            return root_of(leaf, index, size, path) == tree.root
        except ValueError:
            return False

    assert holds(leaf, index, size, path)
    assert not holds(leaf_hash(b"another"), index, size, path)
    other = data.draw(st.integers(-2, 2 * size).filter(lambda other: other != index))
    assert not holds(leaf, other, size, path)
    assert not holds(leaf, index, size, [*path, leaf])
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        assert not holds(leaf, index, size, path[:place] + path[place + 1 :])
        assert not holds(leaf, index, size, [*path[:place], leaf_hash(path[place]), *path[place + 1 :]])
        # A node is not accepted as a leaf: the subtree's root with the rest of the path.
        assert not holds(leaf_hash(path[0]), index >> 1, size + 1 >> 1, path[1:])


def test_path_of_a_place_outside_of_the_tree_is_refused() -> None:
    for index, size in ((0, 0), (-1, 3), (3, 3)):
        with pytest.raises(ValueError, match="no such leaf"):
            path_of(index, size, lambda _level, _place: b"")


def test_builder_holds_one_open_tile_per_level() -> None:
    """Its memory does not grow with the leaves."""
    builder, leaf = TreeBuilder(), leaf_hash(b"")
    for _ in range(200_000):
        for tile in builder.append(leaf):
            assert len(tile.hashes) == TILE
    assert [len(tile.hashes) for tile in builder.partial_tiles()] == [64, 13, 3]
    assert len(tiles_of_path(123_456, 1_000_000)) <= 6
