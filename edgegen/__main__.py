"""Entry point of `python -m edgegen`."""

from edgegen.cli.entry import main

if __name__ == "__main__":
    main()
