"""The command line: thin commands, and the console, which alone prints."""
