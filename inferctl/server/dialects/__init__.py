"""The ways of asking for a prediction: one's own, and those of other servers."""
