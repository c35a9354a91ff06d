"""The live board: one upstream per board, one encoding per frame, the same bytes for every connection."""
