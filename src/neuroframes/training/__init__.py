"""From a store to a model: the backbone, the learned correction, the paper's recipe."""
