# Runs a command as systemd would run the shipped unit: user, limits and seccomp filter. The filter
# and the rest come as JSON in the first argument, from unit.ts; the command follows.
import ctypes
import json
import os
import resource
import sys

import seccomp

settings = json.loads(sys.argv[1])
command = sys.argv[2:]

if "root" in settings:
    os.chroot(settings["root"])
    os.chdir("/")
os.umask(settings["umask"])
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.setgroups([])
os.setgid(settings["group"])
os.setuid(settings["user"])

filter = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
for name in settings["allowed"]:
    if name in ("socket", "clone3"):
        continue
    try:
        filter.add_rule(seccomp.ALLOW, name)
    except (RuntimeError, ValueError):
        # A call of another architecture, or one that this libseccomp does not know: not allowed.
        pass
# RestrictAddressFamilies=: another family is an error, not an end.
for family in range(46):
    is_allowed = family in settings["families"]
    action = seccomp.ALLOW if is_allowed else seccomp.ERRNO(97)
    filter.add_rule(action, "socket", seccomp.Arg(0, seccomp.EQ, family))
# RestrictNamespaces= cannot look into the arguments of clone3 and makes it one that does not exist.
filter.add_rule(seccomp.ERRNO(38), "clone3")
# PR_SET_NO_NEW_PRIVS
if ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) != 0:
    sys.exit("no_new_privs was refused")
filter.load()
os.execv(command[0], command)
