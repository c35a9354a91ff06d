"""Questions of every kind: the forms of answers, how one is judged, and which definitions are valid. Pure."""
