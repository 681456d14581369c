// A browser for $BROWSER whose user logs in with a password and goes where the issuer says.
// CA USER PASSWORD URL
import { authorize } from "./authorize.ts";

const [, , ca = "", user = "", password = "", page = ""] = process.argv;
await fetch(await authorize(page, user, password, ca));
