"""The command line: a command is read, call, print."""
