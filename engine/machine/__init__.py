"""What this machine is, and how processes are started on it."""
