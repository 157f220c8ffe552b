"""Public data sets in layouts of their own, brought to BIDS: one module each, `to_bids`."""
