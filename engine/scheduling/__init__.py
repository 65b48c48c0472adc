"""What trains next, and where."""
