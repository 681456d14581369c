# Runs a command in a folder that Linux encrypts (fscrypt: the encrypt feature of ext4): makes the file
# system in an image file, mounts it for this process alone and adds a key that exists nowhere else.
# The mount ends with the command. Arguments: IMAGE FOLDER CLEARTEXT COMMAND...; CLEARTEXT is a file
# that is copied into the image outside the encrypted folder.
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import sys

image, folder, cleartext, *command = sys.argv[1:]

# include/uapi/linux/fscrypt.h
ADD_ENCRYPTION_KEY = 3 << 30 | 80 << 16 | ord("f") << 8 | 23
SET_ENCRYPTION_POLICY = 2 << 30 | 12 << 16 | ord("f") << 8 | 19
KEY_SPEC_TYPE_IDENTIFIER = 2
POLICY_V2, AES_256_XTS, AES_256_CTS = 2, 1, 4
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000

libc = ctypes.CDLL(None, use_errno=True)


def check(status):
    if status != 0:
        raise OSError(ctypes.get_errno(), "no mount namespace of one's own")


def ioctl(path, request, argument):
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, request, argument, True)
    finally:
        os.close(handle)


with open(image, "wb") as file:
    file.truncate(256 << 20)
subprocess.run(["mkfs.ext4", "-q", "-O", "encrypt", image], check=True)
check(libc.unshare(CLONE_NEWNS))
check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
subprocess.run(["mount", "-o", "loop", image, folder], check=True)
shutil.copyfile(cleartext, os.path.join(folder, "cleartext"))

key = os.urandom(64)
argument = bytearray(struct.pack("<II32sII32s", KEY_SPEC_TYPE_IDENTIFIER, 0, b"", len(key), 0, b"") + key)
ioctl(folder, ADD_ENCRYPTION_KEY, argument)
encrypted = os.path.join(folder, "encrypted")
os.mkdir(encrypted, 0o700)
policy = struct.pack("<BBBBI16s", POLICY_V2, AES_256_XTS, AES_256_CTS, 0, 0, bytes(argument[8:24]))
ioctl(encrypted, SET_ENCRYPTION_POLICY, bytearray(policy))
os.execvp(command[0], command)
