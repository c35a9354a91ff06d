"""Reading boards. All that one read returns is of one state of the board.

`frames.Frames` → `boards.Boards` → `live_board.LiveBoard` (Redis) or `archive.ArchivedBoard` (closed periods, MongoDB).
"""
