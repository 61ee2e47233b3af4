"""Cases of bad input: a module for each kind of file or value."""
