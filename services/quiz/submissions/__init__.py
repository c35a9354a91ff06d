"""What players submit, and the one record of each: judged, recorded in groups, published, told again."""
