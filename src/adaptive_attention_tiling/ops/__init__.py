"""Pure tensor functions: one folder an operation, a reference beside every fast path."""
