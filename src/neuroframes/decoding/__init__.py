"""What frames tell of the stimulus."""
