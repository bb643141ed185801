"""What Python is started with for edgegen's own runner, which alone has this machine's runtimes."""

OWN = ("-P", "-m", "edgegen.runner.child")
AHEAD = "--ahead"
"""Before a package, and the runtime that the user asked for: what a job for it takes is imported
before the job has come."""
