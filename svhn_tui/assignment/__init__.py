"""What is handed in."""
