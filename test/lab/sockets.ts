// Whose socket is it? As /proc tells.
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Does a process have the socket of this inode open? */
export function hasSocket(pid: number, inode: string): boolean {
  const fds = `/proc/${pid}/fd`;
  return readdirSync(fds).some((fd) => {
    try {
      return readlinkSync(join(fds, fd)) === `socket:[${inode}]`;
    } catch {
      // Closed since.
      return false;
    }
  });
}
