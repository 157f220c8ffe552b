"""What comes in: EEG, BOLD, their clocks, BIDS data sets, prepared stores, simulated recordings."""
