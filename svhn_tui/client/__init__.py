"""The pipe to the engine, and the state reduced from its events."""
