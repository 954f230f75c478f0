"""Running a turn from the command line; shared by ``chat``, ``run`` and ``agent run``."""
