"""Training a dense network in C on the processor: the source, its building, and its use from Python."""
