"""Widgets of our own: what paints many rows or lines does it on bare `Widget`, from records of `model`."""
