"""Reading boards: every question is answered from one state of the board.

`frames.Frames` → `boards.Boards` → `live_board.LiveBoard` (Redis) or `archive.ArchivedBoard` (closed periods, MongoDB).
"""
