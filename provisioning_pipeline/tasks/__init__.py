"""Things an operator asks for beside reconciliations, each a package of its own."""
