"""What this machine is, and how files and processes are made on it."""
