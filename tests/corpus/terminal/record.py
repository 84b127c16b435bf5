"""What do programs with progress bars really print? Run it where tqdm, rich, keras and pip are.

``python record.py [NAME …]`` writes ``NAME.log`` beside it: the program's output byte for byte,
through a pipe or through a terminal of 100 columns.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

PIPE, TERMINAL = False, True
KERAS = """
import os; os.environ["KERAS_BACKEND"] = "numpy"
import time, keras
for epoch in range(2):
    print(f"Epoch {epoch + 1}/2")
    bar = keras.utils.Progbar(50)
    for i in range(50):
        bar.update(i + 1, [("accuracy", i / 50), ("loss", 1 / (i + 1))]); time.sleep(.06)
"""
PROGRAMS = {
    "tqdm-single": (
        PIPE,
        r"""
import time
from tqdm import tqdm
print("epoch 1", flush=True)
for i in tqdm(range(300), mininterval=0.01): time.sleep(0.002)
print("done", flush=True)
""",
    ),
    "tqdm-nested": (
        PIPE,
        r"""
import time
from tqdm import tqdm, trange
for e in trange(3, desc="epochs"):
    for b in trange(40, desc=f"epoch {e}", leave=False, mininterval=0.01):
        time.sleep(0.003)
    for b in trange(10, desc=f"valid {e}", leave=False, mininterval=0.01):
        time.sleep(0.003)
print("finished", flush=True)
""",
    ),
    "tqdm-position": (
        PIPE,
        r"""
import time
from tqdm import tqdm
def bar(i): return tqdm(total=60, desc=f"worker {i}", position=i, mininterval=0.01, ascii=i==2)
bars=[bar(i) for i in range(4)]
for s in range(60):
    for i,b in enumerate(bars):
        b.update(1 if s%(i+1)==0 else 0); b.set_postfix(loss=f"{1/(s+1):.3f}")
    if s==30: tqdm.write("a line in between")
    time.sleep(0.004)
for b in bars: b.close()
print("after", flush=True)
""",
    ),
    "tqdm-colour-tty": (
        TERMINAL,
        r"""
import time
from tqdm import tqdm
for i in tqdm(range(120), desc="Größe 训练 🚀", colour="green", mininterval=0.01, ncols=90):
    time.sleep(0.003)
for a in tqdm(range(2), desc="outer"):
    for i in tqdm(range(50), desc="inner", leave=True, colour="#ff8800", mininterval=0.01):
        time.sleep(0.002)
print("end")
""",
    ),
    "rich-progress": (
        TERMINAL,
        r"""
import time
from rich.progress import *
from rich.console import Console
c=Console(force_terminal=True,width=100,color_system="truecolor")
columns=SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn()
with Progress(*columns, console=c) as p:
    a=p.add_task("[red]Downloading...", total=60)
    b=p.add_task("[green]Processing...", total=80)
    d=p.add_task("[cyan]学習中", total=40)
    for i in range(80):
        p.update(a,advance=1); p.update(b,advance=1); p.update(d,advance=.5); time.sleep(0.02)
        if i%25==10: p.console.print(f"step [bold]{i}[/bold] reached", style="yellow")
        if i%25==11: p.console.log("logged", {"loss": 0.5})
c.print("[bold magenta]all done[/]")
""",
    ),
    "rich-live": (
        TERMINAL,
        r"""
import time
from rich.live import Live
from rich.table import Table
from rich.console import Console
c=Console(force_terminal=True,width=80,color_system="256")
def table(n):
    t=Table(title="metrics"); t.add_column("epoch"); t.add_column("loss")
    for i in range(n): t.add_row(str(i), f"{1/(i+1):.3f}")
    return t
with Live(table(0), console=c, auto_refresh=False) as l:
    for n in range(12): l.update(table(n), refresh=True)
with Live(table(3), console=c, auto_refresh=False, transient=True) as l:
    for n in range(5,0,-1): l.update(table(n), refresh=True)
with c.status("working"):
    time.sleep(.5)
c.print("bye")
""",
    ),
    "backspaces": (
        PIPE,
        r"""
import sys,time
sys.stdout.write("Loading:  ")
for i in range(0,101,5):
    t=f"{i:3d}% [{'='*(i//10):10s}]"
    sys.stdout.write(t); sys.stdout.flush(); sys.stdout.write("\b"*len(t))
sys.stdout.write("\n")
for c in "|/-\\"*10: sys.stdout.write("\b"+c)
print("\nready")
""",
    ),
    "keras-progbar": (TERMINAL, KERAS),
    "keras-progbar-pipe": (PIPE, KERAS),
}


def record(command: list[str], terminal: bool) -> bytes:
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LANG": "C.UTF-8"}
    if not terminal:
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env
        ).stdout
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    output = b""
    try:
        while data := os.read(ours, 65536):
            output += data
    except OSError:  # The other end of a terminal is closed.
        pass
    process.wait()
    return output


def main(names: list[str]) -> None:
    here = Path(__file__).parent
    for name, (terminal, code) in PROGRAMS.items():
        if not names or name in names:
            (here / f"{name}.log").write_bytes(record([sys.executable, "-c", code], terminal))
    if not names or "pip-install" in names:
        with tempfile.TemporaryDirectory() as target:
            pip = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--target", target]
            output = record([*pip, "numpy", "attrs"], TERMINAL)
        lines = [line for line in output.split(b"\n") if not line.startswith(b"Looking in ")]
        (here / "pip-install.log").write_bytes(b"\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
