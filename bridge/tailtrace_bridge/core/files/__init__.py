"""Files written whole, read by their owner alone, or locked."""
