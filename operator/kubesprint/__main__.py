"""`kubesprint` and `python -m kubesprint`."""


def main() -> None:
    """Run the command line."""
    from kubesprint.apps.cli import build

    build()()


if __name__ == "__main__":
    main()
