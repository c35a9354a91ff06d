"""`topten top`: a board in the terminal, live on the whole screen or printed once.

`standings` is what is known about a board and `layout` turns it into lines, both pure; `reading` asks GraphQL, `feed` follows
the stream, and `screen` owns the terminal. Must never leave a terminal in another state than it found it in.
"""
