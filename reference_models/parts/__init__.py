"""What several families share, each thing once: checks of input, shapes, distributions, networks, training."""
