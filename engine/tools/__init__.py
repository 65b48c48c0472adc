"""Short-lived heavy processes."""
