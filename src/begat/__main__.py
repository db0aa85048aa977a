"""`python -m begat` is the `begat` command."""

from begat.cli import main

main()
