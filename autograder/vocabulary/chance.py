"""How often a stochastic assertion may fail a right answer; every such assertion takes another rate on request."""

FALSE_FAILURE = 1e-6
