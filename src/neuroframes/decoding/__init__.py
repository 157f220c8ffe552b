"""From frames to stimulus."""
