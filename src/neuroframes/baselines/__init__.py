"""Methods that every table carries beside ours, with one interface: `Baseline`. The registry names them."""
