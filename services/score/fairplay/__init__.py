"""Fair play: rules, the flags that they raise, and the monitor that applies them."""
