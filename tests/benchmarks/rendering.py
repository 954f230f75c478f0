"""What a long answer costs on a terminal: processor time of a 20,000-token answer, rendered and plain.

python -m tests.benchmarks.rendering
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.harness import LLMCTL, build_env
from tests.terminal import Terminal

_SECTION = """## A heading of {0}

Some prose with **bold** words, `code` and a [link](https://example.com/{0}) that goes on for more than one line of the
terminal, as answers do, and so on and so forth until it ends here.

- **First** of the items, with a few more words behind it
- second item

```python
def function_{0}(value):
    \"\"\"Return twice the value.\"\"\"
    return value * 2  # {0}
```

| name | value |
|------|------:|
| x    | {0}   |

"""


def build_answer(words: int) -> str:
    """Return Markdown of at least that many words."""
    sections: list[str] = []
    while sum(len(section.split()) for section in sections) < words:
        sections.append(_SECTION.format(len(sections)))
    return "".join(sections)


def measure_cpu_s(answer: str, folder: Path, *flags: str) -> float:
    """Return the processor time of a chat that gets this answer on a terminal, in seconds."""
    source = folder / "answer.md"
    source.write_text(answer)
    command = ["bash", "-c", 'exec "$@" < answer.md', "_", *LLMCTL, "chat", "-m", "echo", "--no-log", "--stdin", *flags]
    env = {name: value for name, value in build_env(str(folder)).items() if name != "NO_COLOR"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Terminal(command, env, cwd=folder) as terminal:
        assert terminal.finish() == 0, terminal.text()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    answer = build_answer(20_000)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(3):
            plain, rendered = measure_cpu_s(answer, folder, "--plain"), measure_cpu_s(answer, folder)
            sys.stdout.write(f"plain {plain:.2f} s, rendered {rendered:.2f} s: {rendered / plain:.2f} times\n")


if __name__ == "__main__":
    main()
