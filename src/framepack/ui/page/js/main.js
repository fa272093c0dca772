/** Start the studio: words, sign-in where a key is needed, the frame, then the page. */

import { api, needsKey } from "./lib/api.js";
import { replace } from "./lib/dom.js";
import { loadWords } from "./lib/i18n.js";
import { live } from "./lib/live.js";
import { loadPrefs } from "./lib/prefs.js";
import { applyTheme } from "./lib/theme.js";
import { place, prepare, start } from "./router.js";
import { showFrame } from "./shell/frame.js";
import { acceptDrops } from "./shell/drop.js";
import { signIn, signInAgain } from "./shell/sign_in.js";

async function main() {
  applyTheme();
  prepare();
  await loadWords();
  const root = document.getElementById("main");
  const session = await signedIn(root);
  const frame = showFrame(session, place().area);
  live.start();
  loadPrefs().catch((error) => console.warn(error.message));
  needsKey.subscribe((isNeeded) => isNeeded && signInAgain(session));
  acceptDrops();
  await start(root, frame.markCurrent);
}

/** The session, once there is one: a server without keys lets everybody in. */
async function signedIn(root) {
  for (;;) {
    const session = await api.get("/session");
    if (!session.needs_key || session.signed_in) {
      needsKey.value = false;
      replace(root);
      return session;
    }
    await signIn(root);
  }
}

main().catch((error) => {
  console.error(error);
  const root = document.getElementById("main");
  if (root) root.textContent = `The studio could not start: ${error.message}`;
});
