"""Models: our own decoder, and those of other libraries on attention of this one."""
