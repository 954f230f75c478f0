"""What ``chat``, ``run`` and ``agent run`` share: flags, input, printing."""
