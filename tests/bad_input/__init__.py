"""Bad input of every kind, by what it is given to: one module for each."""
