"""The play in rooms: answers and how they are judged, and what everybody sees live."""
