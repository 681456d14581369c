// Why an edit of the registry was not made, for whoever asked for it: in words, with what to do. Nothing was
// written then.

export class EditError extends Error {
  override readonly name = "EditError";
}
