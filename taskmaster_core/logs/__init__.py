"""The reading side of output: what the shim wrote is read, merged, filtered, followed and made harmless here.

Writes nothing but compressed parts, and supervises nothing. The server asks `query`, workers call `archive`, every
client shows foreign text through `sanitize`.
"""
