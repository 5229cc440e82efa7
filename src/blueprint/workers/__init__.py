"""Scripts run by another interpreter: a folder in, files out. They import nothing of this package but `contract`."""
