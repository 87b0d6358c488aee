"""Entry point of `python -m seqvae`, the same as the command `seqvae`."""

from seqvae.cli import main

if __name__ == "__main__":
    main()
