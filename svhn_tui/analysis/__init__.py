"""What follows from the state: progress, comparisons, statistics, tables. Pure."""
