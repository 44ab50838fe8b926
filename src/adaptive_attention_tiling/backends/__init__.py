"""What the machine below torch offers and how it behaves."""
