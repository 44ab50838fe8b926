"""Generate text: caches that keep what attention has learnt about the tokens so far."""
