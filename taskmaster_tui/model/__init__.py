"""Hold what the screens show, without a screen: the world as last heard, its words, rows, filters and sentences.

Nothing in here opens, waits, reads a clock or knows the toolkit: instants come in as Unix seconds, what goes out is
text with a role ("failed", "dim"). The link fills it, widgets and screens read it.
"""
