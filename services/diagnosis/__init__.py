"""What processes report, and which of it is wrong: for `topten doctor` and the operator's screen. Pure."""
