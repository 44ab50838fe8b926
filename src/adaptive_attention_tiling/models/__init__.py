"""Models of other libraries that run on attention of this one."""
