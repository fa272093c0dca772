"""The command line: one small module per command, all on the library's public functions.

main      the program: commands, exit codes, errors as one line
options   options made from the request's schema
usage     how commands are parsed and their help is laid out
console   what is written to the terminal, and what a terminal can show
progress  events to a bar, to sparse lines or to JSON
stop      Ctrl-C and SIGTERM, between two steps

Importing any of it imports no torch.
"""
