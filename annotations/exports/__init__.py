"""How votes go out: one module per form, and one path from a frozen snapshot to a whole file for all."""
