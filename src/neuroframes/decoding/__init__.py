"""From cortex to stimulus: what a film showed and played, told from fMRI frames."""
