"""The screen, its views and its dialogs."""
