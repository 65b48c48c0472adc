"""A worker process: it trains groups of runs and writes their folders."""
