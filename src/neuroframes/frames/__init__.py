"""Linear algebra of frames: autoencoder, measurements along time, Gaussian prior and posterior."""
