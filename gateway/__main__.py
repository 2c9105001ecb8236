"""`python -m gateway` is the `tollgate` command."""

from gateway.cli import main

if __name__ == "__main__":
    main(prog_name="tollgate")
