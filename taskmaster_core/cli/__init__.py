"""The command line: one table of commands, one module per family of handlers (DESIGN §9)."""
