// What the system says of a file, in words, with what to do about it. The code stays: it is what people look
// for.

const files: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or directory",
  EACCES: "this user may not; run this as one who may",
  EPERM: "this user may not; run this as one who may",
  ENOTDIR: "a part of its path is a file and no directory",
  EISDIR: "it is a directory; name a file",
  EEXIST: "there is something else at that path",
  ENOSPC: "the disk is full",
  EDQUOT: "the user's quota of the disk is used up",
  EROFS: "its file system is read-only",
  ELOOP: "its symbolic links form a loop",
  ENAMETOOLONG: "the name is too long",
  EMFILE: "this process has too many files open",
};

/** The code of a system's error; undefined for any other one. */
export function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return typeof code === "string" ? code : undefined;
}

/** Why a file or directory cannot be read or written. */
export function fileProblem(error: unknown): string {
  const code = codeOf(error);
  if (code === undefined) return "unknown error";
  const words = files[code];
  return words === undefined ? code : `${code}: ${words}`;
}
