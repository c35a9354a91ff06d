"""Boards: names, keys, periods, sharding and the value that ranks a member. Shared by writer and reader."""
