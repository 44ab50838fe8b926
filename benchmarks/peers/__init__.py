"""Other people's attention, and plain ways to write the same: what is compared with."""
