"""The live board: one upstream a board, one encoding a frame, the same bytes to every connection."""
