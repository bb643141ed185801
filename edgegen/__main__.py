"""Entry point of `python -m edgegen`."""

from edgegen.cli.main import main

if __name__ == "__main__":
    main()
