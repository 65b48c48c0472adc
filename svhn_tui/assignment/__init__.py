"""What is handed in: answers, evidence, code, and sweeps of the user's own."""
