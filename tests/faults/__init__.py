"""Real faults: what dies, fills up, is damaged or runs twice, and what must hold all the same."""
