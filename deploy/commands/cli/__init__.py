"""The commands as they are typed: names, arguments, help and exit codes."""
