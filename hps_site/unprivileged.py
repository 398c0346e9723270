"""What root does about servers that must not run as root: they run as another account.

Postgres refuses to run as root. The account that runs it instead may not be able to reach a folder in a
private home, so it may be left one capability, to pass folders; the rights of the folders stay as they are.
The file is also the program that changes the account: `python unprivileged.py UID GID CAPABILITY PROGRAM ...`.
It therefore imports nothing of ours.
"""

import contextlib
import ctypes
import os
import pwd
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

NO_CAPABILITY, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 0, 1, 2

# From linux/prctl.h, linux/securebits.h and linux/capability.h.
PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True)
class Account:
    """Who runs the servers when root asks for them."""

    uid: int
    gid: int

    @classmethod
    def for_data(cls, folder: Path) -> Self | None:
        """None for an ordinary user, who runs things as himself; for root whoever owns the folder, else nobody."""
        if os.geteuid() != 0:
            return None
        with contextlib.suppress(FileNotFoundError):
            owner = folder.stat()
            if owner.st_uid != 0:
                return cls(owner.st_uid, owner.st_gid)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    def take(self, folder: Path) -> None:
        """Become the owner of a folder and of all that is in it."""
        if folder.stat().st_uid != self.uid:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def command(self, program: Path, *arguments: str, reaching: Iterable[Path] = ()) -> list[str]:
        """The command with which root runs a program as this account, able to reach the program and the paths."""
        capability = self._capability_for(program, reaching)
        prefix = [sys.executable, "-I", "-S", __file__, str(self.uid), str(self.gid), str(capability)]
        return [*prefix, str(program), *arguments]

    def _capability_for(self, program: Path, paths: Iterable[Path]) -> int:
        if not self._may_execute(program):
            return CAP_DAC_OVERRIDE  # to read is not enough to execute
        if all(self._may_pass(folder) for path in [program, *paths] for folder in path.resolve().parents):
            return NO_CAPABILITY
        return CAP_DAC_READ_SEARCH if _is_held(CAP_DAC_READ_SEARCH) else CAP_DAC_OVERRIDE

    def _may_pass(self, folder: Path) -> bool:
        status = folder.stat()
        return bool(status.st_mode & (stat.S_IXUSR if status.st_uid == self.uid else stat.S_IXOTH))

    def _may_execute(self, program: Path) -> bool:
        readable_and_executable = stat.S_IROTH | stat.S_IXOTH
        return program.stat().st_mode & readable_and_executable == readable_and_executable


def _is_held(capability: int) -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    permitted = next(line.split()[1] for line in lines if line.startswith("CapPrm:"))
    return bool(int(permitted, 16) >> capability & 1)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def become(*, uid: int, gid: int, capability: int) -> None:
    """Give up root for good, and every capability but the one named."""
    libc = ctypes.CDLL(None, use_errno=True)
    if capability != NO_CAPABILITY:
        # Without this bit, access(2) forgets the capability, and Postgres asks access(2) about its own programs.
        _prctl(libc, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if capability != NO_CAPABILITY:
        _keep_only(libc, 1 << capability)
        _prctl(libc, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _keep_only(libc: ctypes.CDLL, mask: int) -> None:
    header = _Header(CAPABILITY_VERSION_3, 0)
    sets = (_Sets * 2)(_Sets(mask, mask, mask), _Sets(0, 0, 0))
    if libc.capset(ctypes.byref(header), sets) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


def _prctl(libc: ctypes.CDLL, option: int, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    if libc.prctl(option, *(ctypes.c_ulong(argument) for argument in padded)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option} failed")


if __name__ == "__main__":
    try:
        become(uid=int(sys.argv[1]), gid=int(sys.argv[2]), capability=int(sys.argv[3]))
    except OSError as error:
        sys.exit(f"root could not become user {sys.argv[1]} ({error}): run this as an ordinary user")
    os.execv(sys.argv[4], sys.argv[4:])  # noqa: S606 - to run the program it was given is all this part does
