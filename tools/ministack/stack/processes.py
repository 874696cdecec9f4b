# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Daemons in the background, known by pid and start time."""

import contextlib
import os
import signal
import subprocess
import time

from stack.base import STATE, p


def _starttime(pid):
    """Kernel start time of a process: a pid alone could have been reused."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            st = f.read().rsplit(")", 1)[1].split()
        return None if st[0] == "Z" else st[19]
    except (OSError, IndexError):
        return None


def pid_of(name):
    try:
        with open(p("run", name + ".pid")) as f:
            pid, start = f.read().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _starttime(int(pid)) == start else None


def start(name, cmd, env=None, cwd=None):
    """Start a daemon in its own session; its output goes to log/NAME.log."""
    if pid_of(name):
        return False
    e = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    e.update(env or {})
    with open(p("log", name + ".log"), "ab") as out:
        proc = subprocess.Popen(
            cmd,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=e,
            cwd=cwd or STATE,
            start_new_session=True,
        )
    with open(p("run", name + ".pid"), "w") as f:
        f.write(f"{proc.pid} {_starttime(proc.pid)}\n")
    return True


def stop(name, sig=signal.SIGTERM, timeout=20):
    pid = pid_of(name)
    if not pid:
        return False
    members = group_pids(pid)
    os.kill(pid, sig) if sig == signal.SIGTERM else os.killpg(pid, sig)
    t0 = time.time()
    while pid_of(name) and time.time() - t0 < timeout:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)
    if pid_of(name):
        os.killpg(pid, signal.SIGKILL)
        time.sleep(0.2)
    for m, st in members:  # no orphan of that group survives
        if _starttime(m) == st and st:
            with contextlib.suppress(ProcessLookupError):
                os.kill(m, signal.SIGKILL)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(p("run", name + ".pid"))
    return True


def group_pids(pgid):
    res = []
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                if os.getpgid(int(d)) == pgid:
                    res.append((int(d), _starttime(int(d))))
            except OSError:
                pass
    return res


def rss_kb(name):
    pid = pid_of(name)
    total = 0
    for m, _ in group_pids(pid) if pid else []:
        try:
            with open(f"/proc/{m}/status") as f:
                for line in f:
                    if line.startswith("VmRSS"):
                        total += int(line.split()[1])
        except OSError:
            pass
    return total
