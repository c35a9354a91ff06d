"""The `topten` command, the commands of the pages, and the stubs, on running systems."""
