"""The framing table once more, told by somebody else's tool: each *.vtc here is played by varnishtest.

In the scripts ${lb} is the server under test and ${backend} the address at which it expects its backend.
"""

import pathlib
import subprocess
import unittest

from harness import PATIENCE, Plimsoll, base_config, free_port, needs

QUICK = {"listeners": {"web": {"head_timeout": "2s", "body_idle_timeout": "2s"}}, "pools": {"web": {"retry": {"attempts": 1}}}}


@needs("varnishtest")
class Varnishtest(unittest.TestCase):
    def play(self, script):
        port = free_port()
        with Plimsoll(base_config([port], QUICK)) as server:
            ran = subprocess.run(
                ["varnishtest", "-t", str(int(20 * PATIENCE)), f"-Dlb=127.0.0.1:{server.port}",
                 f"-Dbackend=127.0.0.1:{port}", str(script)],
                capture_output=True, text=True, check=False,
            )
            told = [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith(("----", "#"))]
            self.assertEqual(ran.returncode, 0, "\n".join(told[-20:]))


for each in sorted(pathlib.Path(__file__).resolve().parent.glob("*.vtc")):
    setattr(Varnishtest, f"test_{each.stem}", lambda self, script=each: self.play(script))


if __name__ == "__main__":
    unittest.main()
