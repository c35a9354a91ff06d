"""What a board shows of its players: sizes, ranks, teams, groups, freezes and metadata."""
