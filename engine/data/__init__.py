"""Image sets: reading and checking them, drawing demo ones."""
