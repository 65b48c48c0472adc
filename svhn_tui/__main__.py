"""`python -m svhn_tui` is `svhn-tui`."""

from svhn_tui.cli.main import main

if __name__ == "__main__":
    main()
