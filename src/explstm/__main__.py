"""``python -m explstm`` is the command ``explstm``."""

from explstm.cli import main

if __name__ == "__main__":
    main()
