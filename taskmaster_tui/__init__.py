"""The full-screen terminal UI: a client like any other, to be built on `taskmaster_core.aclient`."""
