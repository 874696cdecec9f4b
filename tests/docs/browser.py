# Licensed under the Apache License, Version 2.0; see LICENSE.
"""How wide the built pages are in Chromium, without a driver for it.

A page of ours holds each page in frames of all widths, one after the other, and writes down what
it measured; Chromium prints that page.
"""

import functools
import html
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

PROGRAM = shutil.which("chromium")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--dump-dom"),
    "--virtual-time-budget=60000",
)
_MEASURE = """<!DOCTYPE html><pre></pre><script>
async function measure() {
    const found = [];
    for (const page of PAGES)
        for (const width of WIDTHS) {
            const frame = document.createElement("iframe");
            frame.style.width = `${width}px`;
            frame.style.border = "0";
            document.body.append(frame);
            await new Promise((done) => {
                frame.onload = done;
                frame.src = page;
            });
            found.push([page, width, frame.contentDocument.documentElement.scrollWidth]);
            frame.remove();
        }
    document.querySelector("pre").textContent = JSON.stringify(found);
}
measure();
</script>"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def widths(folder: pathlib.Path, pages: list[str], at: list[int]) -> dict[tuple[str, int], int]:
    """How wide each page gets in a window of each width; where it fits, as wide as that."""
    assert PROGRAM
    text = _MEASURE.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(at))
    (folder / "measure.html").write_text(text)
    handler = functools.partial(_Quiet, directory=str(folder))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/measure.html"
        done = subprocess.run(
            [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", url],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        server.shutdown()
    (measured,) = re.findall(r"<pre>(.+?)</pre>", done.stdout) or [""]
    assert measured, done.stderr
    return {(page, at): got for page, at, got in json.loads(html.unescape(measured))}
