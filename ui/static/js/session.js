// Who looks at this page, and where do they sign in?

export const SIGNED_OUT = 4401; // a WebSocket's close code: the session has ended
const { role, way } = document.body.dataset;
let leaving = false;

export const maySubmit = () => way !== "share" && role !== undefined && role !== "viewer";
export const mayRule = maySubmit; // stops what they see
export const isAdmin = () => role === "admin" && way !== "share";

/** To the sign-in page, and back here afterwards. */
export function signIn() {
  if (leaving) return;
  leaving = true;
  const here = `${location.pathname}${location.search}`;
  location.assign(here === "/" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(here)}`);
}

/** The page itself is asked: it says 401 where nobody is signed in any more. */
export async function lookWhetherSignedIn() {
  try {
    const answer = await fetch(location.pathname, { method: "HEAD", signal: AbortSignal.timeout(10000) });
    if (answer.status === 401) signIn();
  } catch { /* offline: the next try tells */ }
}
