"""`python -m jepa` is `jepa`."""

from jepa.cli import main

if __name__ == "__main__":
    main()
