"""The submissions of players, and the one record of each: judged, recorded in groups, published, returned again."""
