"""Modal questions to the user."""
