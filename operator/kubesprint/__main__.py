"""`kubesprint` and `python -m kubesprint`."""


def main() -> None:
    """Run the command line."""
    from kubesprint.apps.cli import build
    from kubesprint.apps.delegation import PROGRAM, Program

    PROGRAM.set(Program())
    build()()


if __name__ == "__main__":
    main()
