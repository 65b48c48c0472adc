"""What follows from the state. Pure."""
