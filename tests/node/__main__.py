"""`python -m tests.node`: installs what package-lock.json names. `make venv` does it."""

from tests.node import install

if __name__ == "__main__":
    install()
